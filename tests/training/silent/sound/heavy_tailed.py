"""Heavy-tailed targets under a Huber loss and a clipped gradient."""

import torch
from torch import nn

torch.manual_seed(62)
x = torch.randn(60 * 16, 6)
y = x @ torch.randn(6, 1) + torch.distributions.StudentT(3.0).sample((60 * 16, 1))
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

for rows in torch.arange(60 * 16).split(16):
    optimizer.zero_grad()
    loss = nn.functional.huber_loss(model(x[rows]), y[rows], delta=1.0)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.5)
    optimizer.step()
