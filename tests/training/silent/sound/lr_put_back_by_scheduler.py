"""The scheduler is made first; then optimizer and scheduler are loaded."""

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

torch.manual_seed(9)
x = torch.randn(128, 5)
y = torch.randn(128, 1)
EPOCHS = 40


def cosine(epoch: int) -> float:
    return (1 + math.cos(math.pi * epoch / EPOCHS)) / 2 * 0.9 + 0.1


def run(start: int, stop: int, checkpoint: dict | None) -> dict:
    model = nn.Sequential(nn.Linear(5, 10), nn.Tanh(), nn.Linear(10, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    scheduler = LambdaLR(optimizer, lr_lambda=cosine)
    if checkpoint:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        scheduler.load_state_dict(checkpoint["scheduler"])
    for _ in range(start, stop):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
        scheduler.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }


checkpoint = run(0, 30, None)
run(30, EPOCHS, checkpoint)
