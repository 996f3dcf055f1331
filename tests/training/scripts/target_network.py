"""Q-learning in one module: the target network follows the other, an average of the weights as well."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class Agent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
        self.target = copy.deepcopy(self.q)


torch.manual_seed(0)
agent = Agent()
average = AveragedModel(agent.q)
optimizer = torch.optim.Adam(agent.q.parameters(), lr=1e-3)

for i in range(30):
    state, following = torch.randn(32, 4), torch.randn(32, 4)
    action, reward = torch.randint(2, (32, 1)), torch.randn(32)
    with torch.no_grad():
        expected = reward + 0.99 * agent.target(following).max(1).values
    loss = nn.functional.smooth_l1_loss(agent.q(state).gather(1, action)[:, 0], expected)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    average.update_parameters(agent.q)
    if i % 10 == 9:
        agent.target.load_state_dict(agent.q.state_dict())
