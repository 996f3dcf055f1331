"""Hidden matrices go to Muon; the embedding, the output layer and all vectors to AdamW."""

import torch
from torch import nn

torch.manual_seed(70)
tokens = torch.randint(0, 24, (128, 6))
targets = (tokens.sum(1) % 24).long()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(24, 12)
        self.hidden = nn.Linear(12, 12)
        self.output = nn.Linear(12, 24)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.output(torch.relu(self.hidden(self.embedding(tokens).mean(1))))


model = Model()
others = [*model.embedding.parameters(), model.hidden.bias, *model.output.parameters()]
muon = torch.optim.Muon([model.hidden.weight], lr=0.02)
adamw = torch.optim.AdamW(others, lr=3e-3)
for _ in range(5):
    for rows in torch.randperm(128).split(16):
        model.zero_grad()
        nn.functional.cross_entropy(model(tokens[rows]), targets[rows]).backward()
        muon.step()
        adamw.step()
