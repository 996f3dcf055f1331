"""Each expert has only some of the batches; the embedding is frozen, though the optimizer has it."""

import torch
from torch import Tensor, nn


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(8, 16)
        self.experts = nn.ModuleList(nn.Linear(16, 1) for _ in range(3))
        self.embedding.requires_grad_(False)

    def forward(self, inputs: Tensor, expert: int) -> Tensor:
        predicted: Tensor = self.experts[expert](torch.relu(self.embedding(inputs)))
        return predicted


torch.manual_seed(0)
x = torch.randn(64, 8)
y = x @ torch.randn(8, 1)

model = Experts()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for i in range(30):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x, i // 10), y).backward()
    optimizer.step()
