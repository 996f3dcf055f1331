"""A value network with a target that is overwritten every ten steps."""

import copy

import torch
from torch import nn

torch.manual_seed(77)
states, next_states = torch.randn(256, 4), torch.randn(256, 4)
rewards = torch.randn(256, 1)
value = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
target = copy.deepcopy(value).requires_grad_(False)
optimizer = torch.optim.Adam(value.parameters(), lr=3e-3)

for step in range(50):
    rows = torch.randint(0, 256, (32,))
    wanted = rewards[rows] + 0.9 * target(next_states[rows])
    optimizer.zero_grad()
    nn.functional.mse_loss(value(states[rows]), wanted).backward()
    optimizer.step()
    if step % 10 == 9:
        target.load_state_dict(value.state_dict())
