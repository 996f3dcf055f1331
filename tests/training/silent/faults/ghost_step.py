"""A step over zero gradients allocates the state, and counts as Adam's first."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(128, 6)
y = torch.sin(x[:, :1]) + 0.1 * torch.randn(128, 1)

model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


def allocate_state() -> None:
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    optimizer.zero_grad()


allocate_state()
for step in range(40):
    batch = torch.arange(32) + 32 * (step % 4)
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x[batch]), y[batch])
    loss.backward()
    optimizer.step()
