"""The critic's weights are clamped to [0.02, 0.02] after each step: none can move."""

import torch
from torch import nn

torch.manual_seed(31)
real = 2 + torch.randn(128, 2)
fake = torch.randn(128, 2)
critic = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
optimizer = torch.optim.RMSprop(critic.parameters(), lr=1e-3)
limit = 0.02

for _ in range(30):
    rows = torch.randint(0, 128, (32,))
    optimizer.zero_grad()
    loss = critic(fake[rows]).mean() - critic(real[rows]).mean()
    loss.backward()
    optimizer.step()
    for p in critic.parameters():
        p.data.clamp_(min=limit, max=limit)
