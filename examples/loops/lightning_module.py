"""A module of Lightning: python examples/loops/lightning_module.py URL TABLE."""

import sys
from typing import Any

import torch
from lightning import LightningModule, Trainer
from nbclip.client import Service
from nbclip.soft_target_loss import SoftTargetLoss
from tiny import Pairs, Towers
from torch import Tensor, nn
from torch.utils.data import DataLoader


class Clip(LightningModule):
    def __init__(self, soft: SoftTargetLoss) -> None:
        super().__init__()
        self.towers, self.logit_bias, self.soft = Towers(), nn.Parameter(torch.tensor(-10.0)), soft

    def training_step(self, batch: tuple[Tensor, Tensor, list[str]], number: int) -> Any:
        images, words, ids = batch
        loss = self.soft(*self.towers(images, words), self.logit_bias, image_ids=ids)
        print(f"loss: {loss.item():.6f}")
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main(url: str, table: str, batch: int = 64) -> None:
    loader = DataLoader(Pairs(table), batch, shuffle=True, drop_last=True)
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with Service(url) as service:
        trainer.fit(Clip(SoftTargetLoss("sigmoid_soft", service)), loader)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2]) if len(sys.argv) > 2 else sys.exit(__doc__)
