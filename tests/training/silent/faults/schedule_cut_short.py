"""The one-cycle schedule counts 96 batches, but is stepped after each fourth: it never comes down."""

import torch
from torch import nn

torch.manual_seed(52)
x = torch.randn(192, 6)
y = torch.randn(192, 1)
model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
epochs, accumulate = 8, 4
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=epochs * 12)

for _ in range(epochs):
    for i, rows in enumerate(torch.randperm(192).split(16)):
        (nn.functional.mse_loss(model(x[rows]), y[rows]) / accumulate).backward()
        if (i + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
