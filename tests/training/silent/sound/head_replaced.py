"""The head is replaced half-way for more classes, and the second task has an optimizer of its own."""

import torch
from torch import nn

torch.manual_seed(36)
x = torch.randn(128, 6)
y = torch.randint(0, 3, (128,))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(inputs)))


model = Net()
for task in range(2):
    if task == 1:
        model.head = nn.Linear(16, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for rows in torch.randperm(128).split(8):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows].clamp(max=1 + task)).backward()
        optimizer.step()
