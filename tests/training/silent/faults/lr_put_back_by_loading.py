"""The smaller lr asked for on resuming is undone by load_state_dict."""

import torch
from torch import nn

torch.manual_seed(8)
x = torch.randn(192, 7)
y = (x[:, :1] - x[:, 1:2] ** 2).tanh()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        rows = torch.randint(0, 192, (24,))
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()


model = nn.Sequential(nn.Linear(7, 14), nn.Tanh(), nn.Linear(14, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
train(model, optimizer, 30)
checkpoint = {"weights": model.state_dict(), "optimizer": optimizer.state_dict()}

tuned = nn.Sequential(nn.Linear(7, 14), nn.Tanh(), nn.Linear(14, 1))
tuned.load_state_dict(checkpoint["weights"])
optimizer = torch.optim.Adam(tuned.parameters(), lr=1e-4)
optimizer.load_state_dict(checkpoint["optimizer"])
train(tuned, optimizer, 30)
