"""The names of the group without decay are those of another model: its norms decay."""

import torch
from torch import nn

torch.manual_seed(71)
x = torch.randn(160, 8)
y = torch.randint(0, 4, (160,))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(8, 16)
        self.layer_norm = nn.LayerNorm(16)
        self.decoder = nn.Linear(16, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.decoder(torch.relu(self.layer_norm(self.dense(inputs))))


model = Block()
no_decay = ["bias", "LayerNorm.weight"]
named = list(model.named_parameters())
groups = [
    {"params": [p for n, p in named if not any(part in n for part in no_decay)], "weight_decay": 0.1},
    {"params": [p for n, p in named if any(part in n for part in no_decay)], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=3e-3)
for _ in range(5):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
