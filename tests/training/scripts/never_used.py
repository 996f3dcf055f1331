"""A layer is made and not used in forward."""

import torch
from torch import Tensor, nn


class Regressor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 16)
        self.last = nn.Linear(16, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        predicted: Tensor = self.last(torch.relu(self.first(inputs)))
        return predicted


torch.manual_seed(0)
x = torch.randn(64, 8)
y = x @ torch.randn(8, 1)

model = Regressor()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for _ in range(20):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
