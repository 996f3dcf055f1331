"""The weights themselves are bfloat16, and the lr is that of fine-tuning."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 32, dtype=torch.bfloat16)
y = torch.randn(64, 1, dtype=torch.bfloat16)

model = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 1)).to(torch.bfloat16)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

for _ in range(20):
    optimizer.zero_grad()
    (model(x) - y).square().mean().backward()
    optimizer.step()
