"""Each of three micro-batches is clipped, together with those before it, but the last."""

import torch

torch.manual_seed(0)
x = torch.randn(3, 32, 3)
y = x.sum(2, keepdim=True)

net = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)

for _ in range(30):
    optimizer.zero_grad()
    for k in range(3):
        (net(x[k]) - y[k]).square().mean().backward()
        if k < 2:
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.01)
    optimizer.step()
