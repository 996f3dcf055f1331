"""The norm is taken after the step, with a limit that cuts nothing."""

import torch

torch.manual_seed(0)
x = torch.randn(32, 3)
y = x.sum(1, keepdim=True)

net = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
norms = []

for _ in range(30):
    optimizer.zero_grad()
    (net(x) - y).square().mean().backward()
    optimizer.step()
    norms.append(torch.nn.utils.clip_grad_norm_(net.parameters(), float("inf")))
