"""The optimizer is given the body of the model; its head is forgotten."""

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.head = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(inputs))
        return logits


torch.manual_seed(0)
x = torch.randn(64, 8)
labels = torch.randint(3, (64,))

model = Classifier()
optimizer = torch.optim.SGD(model.body.parameters(), lr=0.1)

for _ in range(20):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()
