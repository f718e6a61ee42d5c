"""A loop of plain torch: `python examples/loops/bare_torch.py URL TABLE`, or `torchrun --nproc-per-node 2` with the same."""

import os
import sys
from operator import itemgetter

import torch
from nbclip.client import Service
from nbclip.gathering import place
from nbclip.soft_target_loss import SoftTargetLoss
from tiny import Pairs, Towers
from torch import distributed, nn
from torch.utils.data import DataLoader, DistributedSampler


def main(url: str, table: str, batch: int = 64) -> nn.Module:
    rank, ranks = place()
    torch.manual_seed(0)
    model: nn.Module = Towers() if ranks == 1 else nn.parallel.DistributedDataParallel(Towers())
    optimizer, pairs = torch.optim.SGD(model.parameters(), lr=0.1), Pairs(table)
    loader = DataLoader(pairs, batch // ranks, sampler=DistributedSampler(pairs, ranks, rank), drop_last=True)
    with Service(url) as service:
        soft = SoftTargetLoss("sm", service)
        for (images, words, _), targets in soft.prefetched(loader, ids=itemgetter(2)):
            loss = soft(*model(images, words), targets=targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(f"loss: {loss.item():.6f}")
    return model


if __name__ == "__main__":
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
    main(sys.argv[1], sys.argv[2]) if len(sys.argv) > 2 else sys.exit(__doc__)
