"""Two tasks with an optimizer each, both of which have the encoder."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 8)
y = x @ torch.randn(8, 1)
labels = (y[:, 0] > 0).long()

model = nn.ModuleDict(
    {
        "encoder": nn.Sequential(nn.Linear(8, 16), nn.ReLU()),
        "value": nn.Linear(16, 1),
        "kind": nn.Linear(16, 2),
    }
)
encoder = list(model["encoder"].parameters())
value_optimizer = torch.optim.Adam([*encoder, *model["value"].parameters()], lr=1e-3)
kind_optimizer = torch.optim.SGD([*encoder, *model["kind"].parameters()], lr=1e-2)

for _ in range(20):
    value_optimizer.zero_grad()
    nn.functional.mse_loss(model["value"](model["encoder"](x)), y).backward()
    value_optimizer.step()

    kind_optimizer.zero_grad()
    nn.functional.cross_entropy(model["kind"](model["encoder"](x)), labels).backward()
    kind_optimizer.step()
