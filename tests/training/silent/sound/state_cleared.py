"""Two phases: the head first, then all of it, each with an optimizer and an lr of its own."""

import torch
from torch import nn

torch.manual_seed(2)
x = torch.randn(120, 5)
y = x @ torch.randn(5, 2) + 0.2 * torch.randn(120, 2)

body = nn.Sequential(nn.Linear(5, 20), nn.GELU())
head = nn.Linear(20, 2)
model = nn.Sequential(body, head)


def train(optimizer: torch.optim.Optimizer, epochs: int) -> None:
    for _ in range(epochs):
        for rows in torch.randperm(120).split(12):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()


body.requires_grad_(False)
train(torch.optim.AdamW(head.parameters(), lr=1e-2), epochs=2)
body.requires_grad_(True)
train(torch.optim.AdamW(model.parameters(), lr=1e-3), epochs=2)
