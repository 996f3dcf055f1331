"""Weights in bfloat16: 1 - lr * weight_decay is 1 there, so that nothing decays."""

import torch
from torch import nn

torch.manual_seed(20)
x = torch.randn(128, 16).bfloat16()
y = (x[:, :4].float().sum(1, keepdim=True)).bfloat16()
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1)).bfloat16()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05)

for _ in range(5):
    for rows in torch.randperm(128).split(16):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
