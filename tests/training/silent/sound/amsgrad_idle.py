"""amsgrad acts: the first gradients are the largest, and beta2 is 0.9."""

import torch
from torch import nn

torch.manual_seed(23)
x = torch.randn(120, 4)
y = x @ torch.tensor([[2.0], [-1.0], [0.5], [3.0]]) + 0.1 * torch.randn(120, 1)
model = nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-2, betas=(0.9, 0.9), amsgrad=True)

for _ in range(60):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
