"""The group without decay is chosen by a misspelt name: nothing is in it."""

import torch
from torch import nn

torch.manual_seed(37)
x = torch.randn(160, 6)
y = torch.randn(160, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))
named = list(model.named_parameters())
biases = [p for name, p in named if name.endswith("biases")]
weights = [p for name, p in named if not name.endswith("biases")]
optimizer = torch.optim.AdamW(
    [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}], lr=3e-3
)

for _ in range(5):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
