"""A limit that is below every gradient, which hardly matters to Adam."""

import torch

torch.manual_seed(0)
x = torch.randn(256, 8)
y = 10 * x[:, :1] * x[:, 1:2]

net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

for _ in range(40):
    batch = torch.randint(0, 256, (32,))
    optimizer.zero_grad()
    (net(x[batch]) - y[batch]).square().mean().backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
