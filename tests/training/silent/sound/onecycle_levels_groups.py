"""OneCycleLR with a max_lr for each group."""

import torch
from torch import nn

torch.manual_seed(53)
x = torch.randn(160, 6)
y = torch.randint(0, 3, (160,))
backbone = nn.Sequential(nn.Linear(6, 16), nn.ReLU())
head = nn.Linear(16, 3)
model = nn.Sequential(backbone, head)
optimizer = torch.optim.AdamW(
    [{"params": backbone.parameters(), "lr": 1e-4}, {"params": head.parameters(), "lr": 5e-4}]
)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=[1e-4, 5e-4], total_steps=40)

for _ in range(5):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        scheduler.step()
