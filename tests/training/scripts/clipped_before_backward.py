"""The gradient of the step before is clipped, or none."""

import torch

torch.manual_seed(0)
x = 3 * torch.randn(32, 3)
y = x.sum(1, keepdim=True)

net = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.02)

for _ in range(30):
    loss = (net(x) - y).square().mean()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
