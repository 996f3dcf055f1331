"""SWA: the mean of the last epochs' weights is taken over at the end."""

import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel

torch.manual_seed(15)
x = torch.randn(160, 6)
y = (x[:, 0] + 0.5 * torch.randn(160) > 0).float().unsqueeze(1)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
averaged = AveragedModel(model)
schedule = SWALR(optimizer, swa_lr=0.05, anneal_epochs=2)

for epoch in range(6):
    for rows in torch.randperm(160).split(20):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(x[rows]), y[rows]).backward()
        optimizer.step()
    if epoch >= 3:
        averaged.update_parameters(model)
        schedule.step()
model.load_state_dict(averaged.module.state_dict())
