"""The student is copied after its optimizer was made: half of what the loss needs is in no optimizer."""

import copy

import torch
from torch import nn

torch.manual_seed(39)
x = torch.randn(128, 6)
y = torch.sin(x[:, :1])
encoder = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
head = nn.Linear(16, 1)
optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=5e-3)
encoder = copy.deepcopy(encoder).train()

for _ in range(5):
    for rows in torch.randperm(128).split(16):
        optimizer.zero_grad()
        nn.functional.mse_loss(head(encoder(x[rows])), y[rows]).backward()
        optimizer.step()
