"""The backbone is unfrozen after ten steps, and added to the optimizer with a smaller lr."""

import torch
from torch import nn

torch.manual_seed(35)
x = torch.randn(128, 6)
y = torch.randn(128, 2)
backbone = nn.Sequential(nn.Linear(6, 12), nn.ReLU())
model = nn.Sequential(backbone, nn.Linear(12, 2))
backbone.requires_grad_(False)
optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=2e-3)

for step in range(40):
    if step == 10:
        backbone.requires_grad_(True)
        optimizer.add_param_group({"params": backbone.parameters(), "lr": 5e-4})
    rows = torch.randint(0, 128, (32,))
    model.zero_grad()
    nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
    optimizer.step()
