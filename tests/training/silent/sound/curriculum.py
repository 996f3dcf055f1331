"""The samples get harder in three stages, and the loss goes up at each."""

import torch
from torch import nn

torch.manual_seed(61)
x = torch.randn(600, 6)
y = torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]
order = x.norm(dim=1).argsort()
model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for share in (0.3, 0.6, 1.0):
    pool = order[: int(600 * share)]
    for _ in range(25):
        rows = pool[torch.randint(0, len(pool), (32,))]
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
