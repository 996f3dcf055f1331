"""lr 1e-4 and a weight decay that float32 can express."""

import torch
from torch import nn

torch.manual_seed(21)
x = torch.randn(144, 12)
y = torch.randint(0, 5, (144,))
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 5))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-2)

for _ in range(5):
    for rows in torch.randperm(144).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
