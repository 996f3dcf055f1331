"""Schedules as they should be: a warm-up from zero and a decay to zero; a chain; one for a plateau."""

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, ReduceLROnPlateau, SequentialLR

STEPS = 40

torch.manual_seed(0)
x = torch.randn(64, 8)
y = x @ torch.randn(8, 1)

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
schedule = LambdaLR(optimizer, lambda i: min(i / 10, (STEPS - i) / (STEPS - 10)))
for _ in range(STEPS):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
    schedule.step()

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
sgd = torch.optim.SGD(model.parameters(), lr=0.01)
chain = SequentialLR(
    sgd, [LinearLR(sgd, start_factor=0.1, total_iters=5), CosineAnnealingLR(sgd, T_max=STEPS)], milestones=[5]
)
for _ in range(STEPS):
    sgd.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    sgd.step()
    chain.step()

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
rmsprop = torch.optim.RMSprop(model.parameters(), lr=1e-3)
plateau = ReduceLROnPlateau(rmsprop, patience=2)
for epoch in range(STEPS):
    rmsprop.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    rmsprop.step()
    if epoch % 8 == 7:
        plateau.step(loss.detach())
