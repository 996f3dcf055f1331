"""Weights and moments in bfloat16, with a beta2 and a weight decay that it can express."""

import torch
from torch import nn

torch.manual_seed(27)
x = torch.randn(128, 8).bfloat16()
y = (4 * x[:, :1].float() + 2).bfloat16()
model = nn.Linear(8, 1).bfloat16()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.9, 0.9), weight_decay=0.2)

for _ in range(15):
    for rows in torch.randperm(128).split(32):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
