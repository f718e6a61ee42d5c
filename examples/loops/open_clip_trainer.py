"""open_clip's own trainer, its tables with a column `image_id`: python examples/loops/open_clip_trainer.py URL ITS-OPTIONS."""

import sys
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import pandas as pd
from nbclip.client import Service
from nbclip.soft_target_loss import SoftTargetLoss
from open_clip_train import data, main


class Pairs(data.CsvDataset):
    def __init__(self, table: str, *more: Any, sep: str, **options: Any) -> None:
        super().__init__(table, *more, sep=sep, **options)
        self.ids = pd.read_csv(table, sep=sep, dtype=str)["image_id"]

    def __getitem__(self, row: int) -> tuple[Any, ...]:
        return *super().__getitem__(row), self.ids[row]


def train(url: str, *options: str) -> None:
    class Loader(data.DataLoader):
        def __iter__(self) -> Iterator[list[Any]]:
            batches = super().__iter__()
            # A loader that drops no last batch is that of --val-data.
            asked = soft.prefetched(batches, ids=itemgetter(2)) if self.drop_last else ((batch, None) for batch in batches)
            for (*pair, _), now["targets"] in asked:
                yield pair

    data.CsvDataset, data.DataLoader = Pairs, Loader
    with Service(url) as service:
        soft, now = SoftTargetLoss("sm", service), dict[str, Any]()
        main.create_loss = lambda args: lambda **features: soft(**features, **now)
        main.main(options)


if __name__ == "__main__":
    train(*sys.argv[1:]) if len(sys.argv) > 1 else sys.exit(__doc__)
