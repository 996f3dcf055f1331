"""L-BFGS evaluates the loss many times in one step."""

import torch
from torch import Tensor, nn

torch.manual_seed(0)
x = torch.randn(64, 8)
y = torch.sin(x @ torch.randn(8, 1))

model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5)


def closure() -> Tensor:
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    return loss


for _ in range(20):
    optimizer.step(closure)
