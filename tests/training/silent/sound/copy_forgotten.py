"""A teacher is a copy of the student that follows it slowly."""

import copy

import torch
from torch import nn

torch.manual_seed(39)
x = torch.randn(128, 6)
student = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4))
teacher = copy.deepcopy(student).requires_grad_(False)
head = nn.Linear(4, 4)
optimizer = torch.optim.Adam([*student.parameters(), *head.parameters()], lr=5e-3)

for _ in range(5):
    for rows in torch.randperm(128).split(16):
        seen = x[rows] + 0.1 * torch.randn(16, 6)
        optimizer.zero_grad()
        loss = 1 - nn.functional.cosine_similarity(head(student(seen)), teacher(x[rows])).mean()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
                old.lerp_(new, 0.05)
