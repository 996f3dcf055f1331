"""The pretrained weights are loaded once, before the loop."""

import torch
from torch import nn

torch.manual_seed(11)
x = torch.randn(96, 6)
y = (x[:, 0] > x[:, 1]).long()
pretrained = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)).state_dict()

model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
model.load_state_dict(pretrained)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)


def train_one_epoch() -> None:
    model.train()
    for rows in torch.randperm(96).split(12):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()


for _ in range(5):
    train_one_epoch()
