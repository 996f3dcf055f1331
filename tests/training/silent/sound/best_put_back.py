"""Early stopping: the best weights are put back once, after the last step."""

import copy

import torch
from torch import nn

torch.manual_seed(12)
x, held_x = torch.randn(64, 8), torch.randn(64, 8)
y, held_y = torch.randn(64, 1), torch.randn(64, 1)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
best, best_loss = copy.deepcopy(model.state_dict()), float("inf")

for _ in range(10):
    for rows in torch.randperm(64).split(16):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        held_loss = nn.functional.mse_loss(model(held_x), held_y).item()
    if held_loss < best_loss:
        best, best_loss = copy.deepcopy(model.state_dict()), held_loss
model.load_state_dict(best)
