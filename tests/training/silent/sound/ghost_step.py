"""The first step of a linear warm-up has an lr of zero, on purpose."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(128, 6)
y = torch.sin(x[:, :1]) + 0.1 * torch.randn(128, 1)

model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 8))

for step in range(40):
    batch = torch.arange(32) + 32 * (step % 4)
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x[batch]), y[batch])
    loss.backward()
    optimizer.step()
    warmup.step()
