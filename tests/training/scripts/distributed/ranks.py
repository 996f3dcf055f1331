"""Several processes, started by torchrun, that train on data of their own; how, says the first argument."""

import sys
import time

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

how = sys.argv[1]
distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.set_num_threads(1)

torch.manual_seed(rank if how == "other-seed" else 0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
trained = DistributedDataParallel(model) if how in ("averaged", "crash") else model

torch.manual_seed(100 + rank)


def backward() -> None:
    """Add the gradient of the loss of a batch."""
    x = torch.randn(16, 4)
    nn.functional.mse_loss(trained(x), x.sum(1, keepdim=True)).backward()


for step in range(1, 6):
    optimizer.zero_grad()
    if how == "averaged" and step > 3:  # a batch more, averaged with the next
        with trained.no_sync():
            backward()
    if how == "crash-alone" and step == 4:
        distributed.barrier()
    if how.startswith("crash") and step == 4 and rank == 1:
        raise ValueError("out of data")
    if how == "crash-alone" and step == 4:
        time.sleep(60)  # nothing but torchrun ends it before
    backward()
    optimizer.step()
    if rank == 0:
        sys.stdout.write(f"step {step}\n")
distributed.destroy_process_group()
