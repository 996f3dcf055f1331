"""The pretrained embedding is frozen by requires_grad: no gradient, no decay."""

import torch
from torch import nn

torch.manual_seed(33)
tokens = torch.randint(0, 20, (96, 5))
labels = (tokens.sum(1) > 47).long()
embedding = nn.Embedding.from_pretrained(torch.randn(20, 8), freeze=True)
head = nn.Linear(8, 2)
optimizer = torch.optim.AdamW([*embedding.parameters(), *head.parameters()], lr=1e-2, weight_decay=0.1)

for _ in range(5):
    for rows in torch.randperm(96).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(embedding(tokens[rows]).mean(1)), labels[rows]).backward()
        optimizer.step()
