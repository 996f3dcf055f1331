"""The generator's backward leaves a gradient in the discriminator, whose own is added to it."""

import torch
from torch import nn

torch.manual_seed(43)
real = torch.randn(256, 2) * 0.5 + torch.tensor([1.0, -1.0])
generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
discriminator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
optimizer_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()
ones, zeros = torch.ones(32, 1), torch.zeros(32, 1)

for _ in range(30):
    fake = generator(torch.randn(32, 4))
    optimizer_d.zero_grad()
    optimizer_g.zero_grad()
    loss_g = criterion(discriminator(fake), ones)
    loss_g.backward()
    optimizer_g.step()

    batch = real[torch.randint(0, 256, (32,))]
    loss_d = criterion(discriminator(batch), ones) + criterion(discriminator(fake.detach()), zeros)
    loss_d.backward()
    optimizer_d.step()
