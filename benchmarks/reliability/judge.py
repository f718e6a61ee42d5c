"""What a soak's samples must show: no error, memory and descriptors level, equal bytes for equal questions.

A service warms up: threads, libraries and the snapshots that it holds open come with the first requests and publications. So the
second fifth of the run is compared with the last one, by medians, which a publication's short peak does not move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

GROWTH = 0.05
"""Of memory, from the second fifth to the last."""
MORE_DESCRIPTORS = 2
_FIFTHS = 5
_LEAST_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Process:
    """A service process at one moment: MB, descriptors, threads, CPU as percent of a core; and of its children, MB and CPU.

    `anonymous` is what the process itself has written, `files` what it has mapped: snapshots and libraries.
    """

    rss: float
    anonymous: float
    files: float
    pss: float
    cpu: float
    descriptors: int
    threads: int
    children_rss: float
    children_cpu: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One second of the run; latencies in ms of clients that read as fast as they can, None in a second without one."""

    second: float
    requests: int
    busy: int
    errors: int
    p50: float | None
    p99: float | None
    process: Process | None


@dataclass(frozen=True, slots=True)
class Beside:
    """What went on beside the requests for targets, and what was found in their answers."""

    jobs: int
    rows: int
    publications: int
    repeated: int
    different: int


@dataclass(frozen=True, slots=True)
class Check:
    """A promise, what was measured of it, its limit, and whether it holds."""

    what: str
    figure: str
    limit: str
    passed: bool


def checks(samples: Sequence[Sample], beside: Beside) -> list[Check]:
    """All promises of a run; those about a process only where one was watched.

    Raises:
        ValueError: fewer than 20 samples.
    """
    if len(samples) < _LEAST_SAMPLES:
        raise ValueError(f"{len(samples)} samples, at least {_LEAST_SAMPLES} are needed")
    requests, errors = sum(sample.requests for sample in samples), sum(sample.errors for sample in samples)
    found = [
        Check("errors", f"{errors} of {requests:,} requests", "0", errors == 0 and requests > 0),
        Check(
            "same snapshot, same ids",
            f"{beside.different} of {beside.repeated:,} answers differ",
            "0",
            beside.different == 0 and beside.repeated > 0,
        ),
        Check("ingest beside it", f"{beside.rows:,} rows in {beside.jobs} jobs", "over 0", beside.jobs > 0 and beside.rows > 0),
        Check("publications beside it", str(beside.publications), "over 0", beside.publications > 0),
    ]
    watched = [sample.process for sample in samples if sample.process is not None]
    return [*found, *(_level(watched) if len(watched) >= _LEAST_SAMPLES else ())]


def _level(watched: Sequence[Process]) -> list[Check]:
    limit = f"under {GROWTH:.0%}"
    found = []
    for what, values in (
        ("RSS", [each.rss for each in watched]),
        ("RSS without mapped files", [each.anonymous for each in watched]),
    ):
        before, after = fifths(values)
        figure = f"{before:.1f} to {after:.1f} MB, {after / before - 1:+.1%}"
        found.append(Check(what, figure, limit, after < (1 + GROWTH) * before))
    before, after = fifths([each.descriptors for each in watched])
    limit = f"at most {MORE_DESCRIPTORS} more"
    return [*found, Check("descriptors", f"{before:g} to {after:g}", limit, after <= before + MORE_DESCRIPTORS)]


def fifths(values: Sequence[float]) -> tuple[float, float]:
    """Medians of the second fifth and of the last one."""
    fifth = len(values) // _FIFTHS
    return median(values[fifth : 2 * fifth]), median(values[-fifth:])
