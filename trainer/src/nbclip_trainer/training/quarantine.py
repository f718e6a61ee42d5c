"""Images that can't be decoded, found before a run or during it: left out of every batch, by every rank alike."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from nbclip.errors import InvalidInput

from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.parallel.collectives import from_all
from nbclip_trainer.parallel.world import World
from nbclip_trainer.runs.quarantine import Quarantined

_log = logging.getLogger(__name__)


class Quarantine:
    """The bad rows of a split, the same on every rank.

    Attributes:
        bad: why the image can't be decoded, by row. Not changed in place: threads plan by it.
        held: the same as the run's folder keeps it.
    """

    def __init__(self, dataset: Dataset, max_bad_share: float, world: World, known: Iterable[Quarantined] = ()) -> None:
        """`known` are those that a run which goes on has left out; those of other splits are passed over."""
        self._dataset, self._share, self._world = dataset, max_bad_share, world
        row_of = dataset.rows_of([one.image_id for one in known]) if (known := list(known)) else {}
        self.held = [one for one in known if one.image_id in row_of]
        self.bad: dict[int, str] = {row_of[one.image_id]: one.reason for one in self.held}

    def add(self, found: Mapping[int, str], step: int) -> list[Quarantined]:
        """Takes in what each rank has found after `step` steps, and returns what is new; every rank calls it at once.

        Raises:
            InvalidInput: with them more than `data.max_bad_share` of the images would be bad. None of them is taken in.
        """
        new: dict[int, str] = {}
        for of_rank in from_all(dict(found), self._world):
            new |= {row: reason for row, reason in of_rank.items() if row not in self.bad and row not in new}
        self._check_share({**self.bad, **new}, new)
        self.bad = {**self.bad, **new}
        entries = [self._entry(row, reason, step) for row, reason in new.items()]
        for one in entries:
            _log.warning("%sleft out: %s: %s", f"step {step}: " if step else "", one.place, one.reason)
        self.held += entries
        return entries

    def _entry(self, row: int, reason: str, step: int) -> Quarantined:
        [image_id], [split] = (self._dataset.values(name, [row]) for name in ("image_id", "split"))
        return Quarantined(image_id=image_id, split=split, step=step, place=self._dataset.place(row), reason=reason)

    def _check_share(self, bad: Mapping[int, str], new: Mapping[int, str]) -> None:
        if new and len(bad) > self._share * len(self._dataset):
            row, reason = next(iter(new.items()))
            raise InvalidInput(
                f"{len(bad)} of {len(self._dataset)} images can't be decoded, more than data.max_bad_share={self._share:g}; "
                f"{self._dataset.place(row)}: {reason}",
                hint="fix them (`nbclip validate` finds all) or raise data.max_bad_share; "
                "a run that has begun goes on with nbclip train --resume --run DIR",
            )
