"""The second member of an ensemble takes over the first one's state_dict, the same tensors."""

import copy

import torch
from torch import nn

torch.manual_seed(10)
x = torch.randn(200, 6)
y = torch.randn(200, 1)
first = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
first_optimizer = torch.optim.Adam(first.parameters(), lr=1e-3)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    rows = torch.randint(0, 200, (20,))
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
    optimizer.step()


for _ in range(15):
    step(first, first_optimizer)

second = copy.deepcopy(first)
second_optimizer = torch.optim.Adam(second.parameters(), lr=1e-3)
second_optimizer.load_state_dict(first_optimizer.state_dict())
for _ in range(15):
    step(first, first_optimizer)
    step(second, second_optimizer)
