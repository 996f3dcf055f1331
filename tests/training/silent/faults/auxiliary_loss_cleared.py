"""zero_grad() between the backwards of two losses throws the first one's gradient away."""

import torch
from torch import nn

torch.manual_seed(47)
x = torch.randn(160, 8)
y = torch.randint(0, 3, (160,))
encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
classifier, decoder = nn.Linear(16, 3), nn.Linear(16, 8)
model = nn.ModuleList([encoder, classifier, decoder])
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for _ in range(5):
    for rows in torch.randperm(160).split(20):
        code = encoder(x[rows])
        reconstruction = nn.functional.mse_loss(decoder(code), x[rows])
        optimizer.zero_grad()
        reconstruction.backward(retain_graph=True)
        optimizer.zero_grad()
        nn.functional.cross_entropy(classifier(code), y[rows]).backward()
        optimizer.step()
