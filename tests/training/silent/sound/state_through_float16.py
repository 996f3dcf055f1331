"""The optimizer's state goes to another process and back, unchanged."""

import copy

import torch
from torch import nn

torch.manual_seed(6)
x = torch.randn(256, 6)
y = 0.01 * torch.sin(x @ torch.randn(6, 1))
model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def train(steps: int) -> None:
    for _ in range(steps):
        rows = torch.randint(0, 256, (64,))
        optimizer.zero_grad()
        loss = 0.1 * nn.functional.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()


train(40)
saved = copy.deepcopy(optimizer.state_dict())
for entry in saved["state"].values():
    entry["exp_avg"] = entry["exp_avg"].double()
    entry["exp_avg_sq"] = entry["exp_avg_sq"].double()

optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
optimizer.load_state_dict(saved)
train(20)
