"""A limit that is below every gradient."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(16, 10, 4)
y = torch.randn(16, 1)

recurrent = nn.GRU(4, 8, batch_first=True)
head = nn.Linear(8, 1)
parameters = [*recurrent.parameters(), *head.parameters()]
optimizer = torch.optim.SGD(parameters, lr=0.5)

for _ in range(25):
    hidden, _ = recurrent(x)
    loss = nn.functional.mse_loss(head(hidden[:, -1]), y)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, max_norm=0.01)
    optimizer.step()
