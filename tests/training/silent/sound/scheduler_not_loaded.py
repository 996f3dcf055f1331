"""The optimizer and its scheduler are resumed, both."""

import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

torch.manual_seed(7)
x = torch.randn(160, 4)
y = torch.randn(160, 1)


def make() -> tuple[nn.Module, torch.optim.Optimizer, StepLR]:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, optimizer, StepLR(optimizer, step_size=8, gamma=0.5)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: StepLR, epochs: range) -> None:
    for _ in epochs:
        for rows in torch.arange(160).split(80):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
        scheduler.step()


model, optimizer, scheduler = make()
train(model, optimizer, scheduler, range(12))
checkpoint = {
    "model": model.state_dict(),
    "optimizer": optimizer.state_dict(),
    "sched": scheduler.state_dict(),
}

model, optimizer, scheduler = make()
model.load_state_dict(checkpoint["model"])
optimizer.load_state_dict(checkpoint["optimizer"])
scheduler.load_state_dict(checkpoint["sched"])
train(model, optimizer, scheduler, range(12, 24))
