"""The ways in which people clear gradients."""

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 8)
y = x @ torch.randn(8, 1)


def make() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def fit(model: nn.Module) -> None:
    nn.functional.mse_loss(model(x), y).backward()


model, optimizer = make()
for _ in range(12):
    optimizer.zero_grad(set_to_none=False)
    fit(model)
    optimizer.step()

model, optimizer = make()
for _ in range(12):
    for p in model.parameters():
        p.grad = None
    fit(model)
    optimizer.step()

model, optimizer = make()
for _ in range(12):
    fit(model)
    optimizer.step()
    for p in model.parameters():
        if p.grad is not None:
            p.grad.zero_()

model, optimizer = make()
for _ in range(12):
    model.zero_grad()
    fit(model)
    optimizer.step()
