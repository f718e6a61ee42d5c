"""How far a batch is, on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from nbclip.wording import counted
from rich.progress import Progress

if TYPE_CHECKING:
    from kg_service.batch.plan import Plan
    from kg_service.batch.records import Failed
    from kg_service.batch.run import Ended
    from kg_service.batch.state import State

_UNKNOWN_SHOWN = 5
_SAID_EVERY_S = 30.0


def plan_line(plan: Plan, folder: Path) -> str:
    """What was planned, and what comes next."""
    files = counted(len(plan.sources), "file") if len(plan.sources) > 1 else str(plan.sources[0].path)
    what = f"{counted(plan.rows, 'row')} of {files} in {counted(len(plan.shards), 'shard')}"
    return f"{what}; next: kg-service batch run {folder}"


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
            task, description=f"{what} · {counted(ended.rows, 'row')} · {rate:,.0f}/s · waits {waits:.0%}", completed=ended.rows
        )
        if progress.disable and not ended.before and now - said[0] >= _SAID_EVERY_S:
            said[0] = now
            left = timedelta(seconds=round((rows - ended.rows) / rate)) if rate else "?"
            progress.console.print(
                f"{what}: {ended.rows:,} of {counted(rows, 'row')}, {rate:,.0f}/s, waits {waits:.0%}, {left} left", soft_wrap=True
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


def state_lines(state: State, folder: Path, *, failures_told: bool = False) -> Iterator[str]:
    """Lines on how far a batch is, and what comes next.

    Args:
        state: how far it is.
        folder: of the batch.
        failures_told: whether it was told already which shards failed.
    """
    shards, rows = counted(state.shards, "shard"), counted(state.rows, "row")
    share = state.rows_done / state.rows
    yield f"{folder}: {len(state.done):,} of {shards} linked, {state.rows_done:,} of {rows} ({share:.0%})"
    if state.running:
        left = "" if state.left_s is None else f", {timedelta(seconds=round(state.left_s))} left"
        yield f"in work: {', '.join(state.running)}; {state.rate:,.0f} rows/s{left}"
    for what, reason, hint in () if failures_told else failures(state.failed, state.places.__getitem__):
        which, _, place = what.partition(", ")
        yield f"{which} failed, {place}: {reason}; {hint}"
    if state.bad_rows:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in state.bad_rows.items())
        yield f"{counted(state.bad_rows.total(), 'row')} left out ({kinds})"
    if state.unknown_cuis:
        first = ", ".join(f"{cui} at {place}" for cui, place in islice(state.unknown_cuis.items(), _UNKNOWN_SHOWN))
        yield f"CUIs given that the vocabulary lacks: {len(state.unknown_cuis)}: {first}"
    for each in state.published:
        part = f" of {each.part}" if each.part else ""
        yield f"published {datetime.fromtimestamp(each.ended):%Y-%m-%d %H:%M}: snapshot {each.snapshot}{part} in {each.data}"
    if not state.running:
        yield f"next: {_next_step(state, folder)}"


def _next_step(state: State, folder: Path) -> str:
    if len(state.done) + len(state.failed) < state.shards:
        return f"kg-service batch run {folder}"
    if state.failed:
        return f"mend what failed, then: kg-service batch run {folder}"
    if state.published:
        return f"kg-service serve --data {state.published[-1].data}"
    return f"kg-service batch publish {folder}"
