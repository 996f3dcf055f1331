"""The embedding of a padding row and all pretrained rows is 'frozen' by a zero gradient, and decays."""

import torch
from torch import nn

torch.manual_seed(33)
tokens = torch.randint(0, 20, (96, 5))
labels = (tokens.sum(1) > 47).long()
embedding = nn.Embedding(20, 8)
head = nn.Linear(8, 2)
embedding.weight.register_hook(torch.zeros_like)
optimizer = torch.optim.AdamW([*embedding.parameters(), *head.parameters()], lr=1e-2, weight_decay=0.1)

for _ in range(5):
    for rows in torch.randperm(96).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(embedding(tokens[rows]).mean(1)), labels[rows]).backward()
        optimizer.step()
