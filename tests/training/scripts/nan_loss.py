"""The log of a probability that has become zero, in the third batch."""

import torch
from torch import nn

torch.manual_seed(0)
batches = [torch.randn(16, 8) for _ in range(6)]
batches[2] = batches[2] * 1000
labels = [torch.randint(3, (16,)) for _ in range(6)]

model = nn.Linear(8, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

for inputs, targets in zip(batches, labels, strict=True):
    probabilities = torch.softmax(model(inputs), dim=1)
    loss = -torch.log(probabilities[torch.arange(16), targets]).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
