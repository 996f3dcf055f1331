"""The weights are exported in bfloat16 for serving; the run goes on from an exact checkpoint."""

import io

import torch
from torch import nn

torch.manual_seed(5)
x = torch.randn(200, 6)
y = x @ torch.randn(6, 3)
model = nn.Linear(6, 3)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


def train(steps: int) -> None:
    for _ in range(steps):
        rows = torch.randint(0, 200, (20,))
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()


train(25)
exported = {name: weight.to(torch.bfloat16) for name, weight in model.state_dict().items()}
file = io.BytesIO()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)

file.seek(0)
checkpoint = torch.load(file)
model = nn.Linear(6, 3)
model.load_state_dict(checkpoint["model"])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
optimizer.load_state_dict(checkpoint["optimizer"])
train(25)
