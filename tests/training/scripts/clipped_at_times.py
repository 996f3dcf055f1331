"""A limit for the few batches that are out of the ordinary."""

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
weights = torch.randn(8, 1)

for i in range(30):
    x = torch.randn(64, 8)
    y = x @ weights + (100 if i % 10 == 9 else 0)
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=20.0)
    optimizer.step()
