"""The discriminator's optimizer is made and never stepped; both are Adam."""

import torch
from torch import nn

torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
discriminator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4)
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4)
criterion = nn.BCEWithLogitsLoss()

for _ in range(25):
    real = torch.randn(32, 2) + 2
    fake = generator(torch.randn(32, 4))

    optimizer_d.zero_grad()
    criterion(discriminator(real), torch.ones(32, 1)).backward()
    criterion(discriminator(fake.detach()), torch.zeros(32, 1)).backward()

    optimizer_g.zero_grad()
    criterion(discriminator(fake), torch.ones(32, 1)).backward()
    optimizer_g.step()
