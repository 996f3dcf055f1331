"""The step counters are kept in float32 on resuming, with all else."""

import copy

import torch
from torch import nn

torch.manual_seed(26)
x = torch.randn(64, 3)
y = x @ torch.randn(3, 1)
model = nn.Linear(3, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.9999))


def train(steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()


train(230)
saved = copy.deepcopy(optimizer.state_dict())
for entry in saved["state"].values():
    entry["step"] = entry["step"].to("cpu")
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.9999))
optimizer.load_state_dict(saved)
train(70)
