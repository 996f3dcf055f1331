"""The same lr, with float32 weights: only the forward is computed in bfloat16."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 32)
y = torch.randn(64, 1)

model = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

for _ in range(20):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
