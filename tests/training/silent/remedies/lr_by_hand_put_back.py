"""The schedule's base is lowered half-way, and the lr with it."""

import torch
from torch import nn

torch.manual_seed(56)
x = torch.randn(160, 6)
y = torch.randn(160, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 5))

for step in range(40):
    if step == 20:
        for group in optimizer.param_groups:
            group["lr"] = 0.001
        scheduler.base_lrs = [0.001]
    rows = torch.randint(0, 160, (32,))
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
    optimizer.step()
    scheduler.step()
