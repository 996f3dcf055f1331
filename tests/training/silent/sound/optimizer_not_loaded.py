"""Fine-tuning: pretrained weights, another task, a new head and a fresh optimizer."""

import tempfile
from pathlib import Path

import torch
from torch import nn

torch.manual_seed(4)
x = torch.randn(256, 8)
y = torch.tanh(x @ torch.randn(8, 1))
labels = (x[:, 0] * x[:, 1] > 0).long()
path = Path(tempfile.mkdtemp()) / "body.pt"


def make_body() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh())


body = make_body()
model = nn.Sequential(body, nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for rows in torch.randperm(256).split(16):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
    optimizer.step()
torch.save(body.state_dict(), path)

body = make_body()
body.load_state_dict(torch.load(path))
classifier = nn.Sequential(body, nn.Linear(16, 2))
optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
for rows in torch.randperm(256).split(16):
    optimizer.zero_grad()
    nn.functional.cross_entropy(classifier(x[rows]), labels[rows]).backward()
    optimizer.step()
