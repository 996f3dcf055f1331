"""A layer is unfrozen, and given to the optimizer then."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 8)
y = x @ torch.randn(8, 1)
model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 1))
model[0].requires_grad_(False)
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)

for step in range(20):
    if step == 10:
        model[0].requires_grad_(True)
        optimizer.add_param_group({"params": model[0].parameters()})
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
