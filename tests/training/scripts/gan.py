"""A generator against a discriminator, whose gradients the generator's backward fills as well."""

import torch
from torch import nn

torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
discriminator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()

for _ in range(25):
    real = torch.randn(32, 2) + 2
    fake = generator(torch.randn(32, 4))

    discriminator.zero_grad()
    criterion(discriminator(real), torch.ones(32, 1)).backward()
    criterion(discriminator(fake.detach()), torch.zeros(32, 1)).backward()
    optimizer_d.step()

    generator.zero_grad()
    criterion(discriminator(fake), torch.ones(32, 1)).backward()
    optimizer_g.step()
