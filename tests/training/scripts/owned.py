"""Fine-tuning: a frozen body, an lr for each of the other parts, and later the body as well."""

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.neck = nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.neck(self.body(inputs)))
        return logits


torch.manual_seed(0)
x = torch.randn(64, 8)
labels = torch.randint(3, (64,))

model = Classifier()
model.body.requires_grad_(False)
optimizer = torch.optim.SGD(
    [{"params": model.neck.parameters(), "lr": 0.01}, {"params": model.head.parameters()}], lr=0.1
)

for epoch in range(20):
    if epoch == 10:
        model.body.requires_grad_(True)
        optimizer.add_param_group({"params": model.body.parameters(), "lr": 0.001})
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()
