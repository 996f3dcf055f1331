"""The closure of LBFGS never clears: each evaluation adds its gradient to all before."""

import torch
from torch import nn

torch.manual_seed(45)
x = torch.randn(80, 4)
y = torch.sin(x @ torch.randn(4, 1))
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.01, max_iter=5)


def closure() -> torch.Tensor:
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    return loss


for _ in range(8):
    optimizer.zero_grad()
    optimizer.step(closure)
