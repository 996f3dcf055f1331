"""amsgrad=True, but the second moment only grows in so short a run: its maximum is itself."""

import torch
from torch import nn

torch.manual_seed(23)
x = torch.randn(120, 4)
y = x @ torch.tensor([[2.0], [-1.0], [1.5], [3.0]]) + 4
model = nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)

for _ in range(30):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
