"""How far a batch is, on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

if TYPE_CHECKING:
    from kg_service.batch.plan import Plan
    from kg_service.batch.records import Failed
    from kg_service.batch.run import Ended
    from kg_service.batch.state import State

_UNKNOWN_SHOWN = 5
_SAID_EVERY_S = 30.0


def _shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"


def plan_line(plan: Plan, folder: Path) -> str:
    """What was planned, and what comes next."""
    files = f"{len(plan.sources)} files" if len(plan.sources) > 1 else str(plan.sources[0].path)
    return f"{plan.rows:,} rows of {files} in {_shards(len(plan.shards))}; next: kg-service batch run {folder}"


def shard_progress(progress: Progress, what: str, rows: int) -> Callable[[Ended], None]:
    """Shows one bar for the shards of a job, with the rate and the waits of what it links itself; where there is no terminal, a
    line now and then, for a job's log.

    Waits are the share of its shards' time in which the processes that linked them did not compute: they waited for the disk, for
    a file over the network, or for a CPU that others had.
    """
    from kg_service.batch.records import Done

    task = progress.add_task(what, total=rows)
    before, begun, said = [0], time.monotonic(), [time.monotonic()]
    cpu_s, wall_s = [0.0], [0.0]

    def show(ended: Ended) -> None:
        now = time.monotonic()
        if ended.before:
            before[0] = ended.rows
        rate = (ended.rows - before[0]) / max(now - begun, 1e-9)
        if isinstance(ended.record, Done) and not ended.before:
            cpu_s[0] += ended.record.cpu_s
            wall_s[0] += ended.record.wall_s
        waits = max(0.0, 1 - cpu_s[0] / wall_s[0]) if wall_s[0] else 0.0
        progress.update(
            task, description=f"{what} · {ended.rows:,} rows · {rate:,.0f}/s · waits {waits:.0%}", completed=ended.rows
        )
        if progress.disable and not ended.before and now - said[0] >= _SAID_EVERY_S:
            said[0] = now
            left = timedelta(seconds=round((rows - ended.rows) / rate)) if rate else "?"
            progress.console.print(
                f"{what}: {ended.rows:,} of {rows:,} rows, {rate:,.0f}/s, waits {waits:.0%}, {left} left", soft_wrap=True
            )

    return show


def failures(failed: Mapping[int, Failed], place: Callable[[int], str]) -> Iterator[tuple[str, str, str]]:
    """What failed, why, and the way out: shards that failed for one reason together, as a file may have thousands.

    Args:
        failed: by number.
        place: where a shard's rows stand.
    """
    alike: dict[tuple[str, str], list[int]] = {}
    for number, each in sorted(failed.items()):
        alike.setdefault((each.reason, each.hint), []).append(number)
    for (reason, hint), numbers in alike.items():
        first = place(numbers[0])
        what = f"shard {numbers[0]}, {first}" if len(numbers) == 1 else f"{len(numbers):,} shards, of {first} and on"
        yield what, reason, hint


def state_lines(state: State, folder: Path) -> Iterator[str]:
    """Lines on how far a batch is."""
    share = state.rows_done / state.rows
    linked = f"{len(state.done)} of {_shards(state.shards)} linked"
    yield f"{folder}: {linked}, {state.rows_done:,} of {state.rows:,} rows ({share:.0%})"
    if state.running:
        left = "" if state.left_s is None else f", {timedelta(seconds=round(state.left_s))} left"
        yield f"in work: {', '.join(state.running)}; {state.rate:,.0f} rows/s{left}"
    for what, reason, _ in failures(state.failed, state.places.__getitem__):
        shards, _, place = what.partition(", ")
        yield f"{shards} failed, {place}: {reason}"
    if state.bad_rows:
        kinds = ", ".join(f"{count} {kind}" for kind, count in state.bad_rows.items())
        yield f"{state.bad_rows.total()} rows left out ({kinds})"
    if state.unknown_cuis:
        first = ", ".join(f"{cui} at {place}" for cui, place in islice(state.unknown_cuis.items(), _UNKNOWN_SHOWN))
        yield f"CUIs given that the vocabulary lacks: {len(state.unknown_cuis)}: {first}"
    if not state.running:
        yield f"next: kg-service batch {'publish' if len(state.done) == state.shards else 'run'} {folder}"
