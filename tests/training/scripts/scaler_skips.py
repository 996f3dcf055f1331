"""A column of the data is constant: divided by its deviation it is NaN, and every step is left out."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 8)
x[:, 3] = 1.0
y = x @ torch.randn(8, 1)
x = (x - x.mean(0)) / x.std(0)

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
scaler = torch.amp.GradScaler("cpu")

for _ in range(30):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
