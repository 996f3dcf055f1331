"""The output layer is the embedding: one matrix, in one group."""

import torch
from torch import nn

torch.manual_seed(72)
tokens = torch.randint(0, 20, (128, 5))
targets = tokens[:, 0]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 10)
        self.mix = nn.Linear(10, 10)
        self.output = nn.Linear(10, 20, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.output(torch.relu(self.mix(self.embedding(tokens).mean(1))))


model = Model()
optimizer = torch.optim.Adam(
    [{"params": model.embedding.parameters(), "lr": 0.005}, {"params": model.mix.parameters()}], lr=0.01
)
for _ in range(5):
    for rows in torch.randperm(128).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens[rows]), targets[rows]).backward()
        optimizer.step()
