"""In bfloat16, 0.999 * v is v: the second moment of a first large gradient never falls."""

import torch
from torch import nn

torch.manual_seed(27)
x = torch.randn(128, 8).bfloat16()
y = (4 * x[:, :1].float() + 2).bfloat16()
model = nn.Linear(8, 1).bfloat16()
optimizer = torch.optim.Adam(model.parameters(), lr=0.05, betas=(0.9, 0.999))

for _ in range(15):
    for rows in torch.randperm(128).split(32):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
