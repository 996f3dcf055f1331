"""Half of the first layer is pruned: a mask on its weights and their gradient."""

import torch
from torch import nn

torch.manual_seed(30)
x = torch.randn(128, 8)
y = torch.randint(0, 2, (128,))
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
mask = (model[0].weight.abs() > 0.17).float()
with torch.no_grad():
    model[0].weight.mul_(mask)
model[0].weight.register_hook(lambda grad: grad * mask)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for _ in range(5):
    for rows in torch.randperm(128).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
