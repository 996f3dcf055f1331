"""A run is resumed with its weights and its optimizer's state."""

import tempfile
from pathlib import Path

import torch
from torch import nn

torch.manual_seed(4)
x = torch.randn(256, 8)
y = torch.tanh(x @ torch.randn(8, 1))
path = Path(tempfile.mkdtemp()) / "last.pt"


def train(epochs: int, resume: bool) -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    start = 0
    if resume:
        checkpoint = torch.load(path)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        start = checkpoint["epoch"]
    for epoch in range(start, epochs):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
        torch.save(state, path)


train(3, resume=False)
train(6, resume=True)
