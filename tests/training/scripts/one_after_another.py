"""Adam first, and L-BFGS on the same weights once Adam has done its part."""

import torch
from torch import Tensor, nn

torch.manual_seed(0)
x = torch.linspace(-1, 1, 64)[:, None]
y = torch.sin(3 * x)

model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

adam = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(50):
    adam.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    adam.step()

lbfgs = torch.optim.LBFGS(model.parameters(), max_iter=10, line_search_fn="strong_wolfe")


def closure() -> Tensor:
    lbfgs.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    return loss


for _ in range(20):
    lbfgs.step(closure)
