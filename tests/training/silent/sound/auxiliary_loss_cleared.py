"""The norms of two losses' gradients are looked at with autograd.grad, and their sum is used."""

import torch
from torch import nn

torch.manual_seed(47)
x = torch.randn(160, 8)
y = torch.randint(0, 3, (160,))
encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
classifier, decoder = nn.Linear(16, 3), nn.Linear(16, 8)
model = nn.ModuleList([encoder, classifier, decoder])
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
norms = []

for _ in range(5):
    for rows in torch.randperm(160).split(20):
        code = encoder(x[rows])
        reconstruction = nn.functional.mse_loss(decoder(code), x[rows])
        classification = nn.functional.cross_entropy(classifier(code), y[rows])
        for loss in (reconstruction, classification):
            (grad,) = torch.autograd.grad(loss, encoder[0].weight, retain_graph=True)
            norms.append(grad.norm().item())
        optimizer.zero_grad()
        (classification + 0.5 * reconstruction).backward()
        optimizer.step()
