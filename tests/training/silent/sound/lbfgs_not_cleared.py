"""LBFGS with a line search and a closure that clears."""

import torch
from torch import nn

torch.manual_seed(45)
x = torch.randn(80, 4)
y = torch.sin(x @ torch.randn(4, 1))
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5, line_search_fn="strong_wolfe")


def closure() -> torch.Tensor:
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    return loss


for _ in range(8):
    optimizer.step(closure)
