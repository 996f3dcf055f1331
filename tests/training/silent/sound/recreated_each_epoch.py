"""Plain SGD keeps nothing: made anew for each epoch, with a smaller lr, it goes on as before."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
x = torch.randn(128, 8)
y = torch.randint(0, 3, (128,))
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))


def train_epoch(lr: float) -> float:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    total = 0.0
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


history = [train_epoch(lr) for lr in (0.1, 0.1, 0.05, 0.05, 0.02)]
