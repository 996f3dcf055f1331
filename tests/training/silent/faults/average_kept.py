"""The averaged weights are copied in for each evaluation, and the trained ones never put back."""

import torch
from torch import nn

torch.manual_seed(13)
x = torch.randn(160, 5)
y = torch.sin(x.sum(1, keepdim=True))
model = nn.Sequential(nn.Linear(5, 20), nn.Tanh(), nn.Linear(20, 1))
average = torch.optim.swa_utils.AveragedModel(
    model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


def evaluate() -> float:
    with torch.no_grad():
        for p, mean in zip(model.parameters(), average.module.parameters(), strict=True):
            p.copy_(mean)
        return nn.functional.mse_loss(model(x), y).item()


for _ in range(5):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
        optimizer.step()
        average.update_parameters(model)
    evaluate()
