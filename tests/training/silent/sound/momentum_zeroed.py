"""The head is initialised anew once, and only its own momentum is dropped."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
x = torch.randn(160, 10)
y = (x[:, :3].sum(1) > 0).long()
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)

body = nn.Sequential(nn.Linear(10, 24), nn.ReLU())
head = nn.Linear(24, 2)
model = nn.Sequential(body, head)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(4):
    if epoch == 2:
        head.reset_parameters()
        for p in head.parameters():
            optimizer.state.pop(p, None)
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
