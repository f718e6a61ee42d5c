"""What a page says of its experiment beside the figures: settings and scales, what was tried, how it was run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import fmean
from typing import Any

from pydantic import JsonValue

INSPECTION = "targets.json"
"""Where the figures of the targets are read from, in the experiment's folder."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate of an arm's free settings, and each seed's figure on the validation split."""

    arm: str
    settings: Mapping[str, JsonValue]
    values: tuple[float, ...]
    is_chosen: bool

    @property
    def mean(self) -> float:
        """Over seeds."""
        return fmean(self.values)


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of how an experiment was run.

    Attributes:
        command: what makes it again.
        run_on: day of the last run.
        machine: that wrote the page.
        facts: of the first run: `data`, `versions`, `git`, `steps`.
        snapshots: ids by arm.
        scales: mean over runs of exp(logit_scale) of the models that were scored, by arm.
        seconds: of all trainings together, the choice included.
        runs: how many are reported, how many were made to choose.
        tried: candidates of all arms, arm by arm; none where nothing was chosen.
        chosen_by: the validation's figure, and the seeds of the choice.
        inspection: `nbclip targets inspect --json`, None where it was not asked.
    """

    command: str = ""
    run_on: date | None = None
    machine: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    snapshots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    runs: tuple[int, int] = (0, 0)
    tried: tuple[Tried, ...] = ()
    chosen_by: tuple[str, tuple[int, ...]] = ("", ())
    inspection: dict[str, Any] | None = None

    def chosen(self, arm: str) -> Mapping[str, JsonValue]:
        """An arm's chosen settings; none where it had no choice."""
        return next((one.settings for one in self.tried if one.arm == arm and one.is_chosen), {})

    def best_alone(self, arm: str) -> Tried | None:
        """An arm's best candidate by its own figures, which a joint choice may pass over."""
        return max((one for one in self.tried if one.arm == arm), key=lambda one: one.mean, default=None)

    def ends(self) -> dict[str, list[str]]:
        """Arms that chose the lowest or highest of several numbers, by the setting, such as `optim.lr=0.008, the highest`."""
        found: dict[str, list[str]] = {}
        for one in self.tried:
            for key, value in one.settings.items() if one.is_chosen else ():
                numbers = _numbers([other.settings[key] for other in self.tried if other.arm == one.arm])
                if len(numbers) > 1 and value in (min(numbers), max(numbers)):
                    end = "lowest" if value == min(numbers) else "highest"
                    found.setdefault(f"{key}={value}, the {end}", []).append(one.arm)
        return found


def _numbers(values: Sequence[JsonValue]) -> set[float]:
    """Distinct values; none where some is no number."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return set(numbers) if len(numbers) == len(values) else set()
