"""REINFORCE on a bandit: the loss has no trend, its sign changes, and the policy gets better."""

import torch
from torch import nn

torch.manual_seed(63)
means = torch.tensor([0.1, 0.4, 0.9, 0.2])
policy = nn.Linear(1, 4)
optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
baseline = 0.0

for _ in range(80):
    distribution = torch.distributions.Categorical(logits=policy(torch.ones(16, 1)))
    actions = distribution.sample()
    rewards = means[actions] + 0.5 * torch.randn(16)
    loss = -(distribution.log_prob(actions) * (rewards - baseline)).mean()
    baseline = 0.9 * baseline + 0.1 * rewards.mean().item()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
