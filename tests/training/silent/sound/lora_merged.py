"""The low-rank update is merged into the frozen weight half-way, and a new one begun."""

import torch
from torch import nn

torch.manual_seed(17)
x = torch.randn(128, 10)
y = x @ torch.randn(10, 10)


class Lora(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(10, 10)
        self.base.requires_grad_(False)
        self.a = nn.Parameter(0.1 * torch.randn(2, 10))
        self.b = nn.Parameter(torch.zeros(10, 2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.base(inputs) + inputs @ self.a.T @ self.b.T

    @torch.no_grad()
    def merge(self) -> None:
        self.base.weight += self.b @ self.a
        self.a.copy_(0.1 * torch.randn(2, 10))
        self.b.zero_()


model = Lora()
for _ in range(2):
    optimizer = torch.optim.AdamW([model.a, model.b], lr=1e-2)
    for _ in range(20):
        rows = torch.randint(0, 128, (32,))
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
    model.merge()
