"""Metrics that are looked up when they are asked for: the current snapshot, jobs, room on the disk, work places, upkeep."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator

from nbclip.errors import NBClipError
from nbclip.schemas.jobs import JobState
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.datastructures import State

from kg_service.api.serving.limits import Places
from kg_service.app.wiring import Wiring
from kg_service.config import Settings
from kg_service.jobs.model import Job, Kind, Progress
from kg_service.jobs.spool import all_jobs

_STATES: tuple[JobState, ...] = ("queued", "running", "done", "failed", "cancelled")
_KINDS: tuple[Kind, ...] = ("ingest", "publish")
_PLACES = {"requests": "places", "graph": "graph_places", "uploads": "uploads", "cells": "cells"}


class Standing(Collector):
    """Of one app. What can't be read, such as a pointer to a snapshot, has no line; nothing here asks the graph store.

    Args:
        wiring: knows snapshots and settings.
        state: the app's, with its places and what upkeep says.
    """

    def __init__(self, wiring: Wiring, state: State) -> None:
        self._wiring = wiring
        self._state = state

    def describe(self) -> list[Metric]:
        """Nothing, so that a registry takes it before there is something to look at."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        settings = self._wiring.settings
        yield self._current()
        yield self._upkeep()
        yield from self._places()
        if not settings.read_only:
            yield from _jobs(all_jobs(settings.jobs_folder))
        yield from _room(settings)

    def _current(self) -> Metric:
        found = GaugeMetricFamily(
            "snapshot_current_info", "1, labelled with the id of the current snapshot.", labels=["snapshot"]
        )
        try:
            current = self._wiring.snapshots.current()
        except NBClipError:
            return found
        if current is not None:
            found.add_metric([current], 1)
        return found

    def _upkeep(self) -> Metric:
        failing = self._state.upkeep_failure() or self._state.upkeep_trouble()
        return GaugeMetricFamily("upkeep_failing", "1 while jobs, appends or compactions fail.", value=float(bool(failing)))

    def _places(self) -> Iterator[Metric]:
        taken = GaugeMetricFamily("places_taken", "Work places that are held, by kind.", labels=["kind"])
        limit = GaugeMetricFamily("places_limit", "Work places that there are, by kind.", labels=["kind"])
        for kind, name in _PLACES.items():
            places: Places = getattr(self._state, name)
            taken.add_metric([kind], places.taken)
            limit.add_metric([kind], places.capacity)
        yield taken
        yield limit


def _jobs(jobs: list[Job]) -> Iterator[Metric]:
    count = Counter((job.order.kind, job.state) for job in jobs)
    found = GaugeMetricFamily("jobs", "Jobs that are kept, by kind and state.", labels=["kind", "state"])
    for kind in _KINDS:
        for state in _STATES:
            found.add_metric([kind, state], count[kind, state])
    yield found
    ingests = [(job, job.progress or Progress()) for job in jobs if job.order.kind == "ingest" and not job.is_over]
    left = sum(job.bytes_total - now.bytes_read for job, now in ingests)
    yield GaugeMetricFamily("ingest_waiting_bytes", "Bytes of bulk ingests that are still to be read.", value=left)
    rate = sum(_rows_per_second(now) for job, now in ingests if job.state == "running")
    yield GaugeMetricFamily("ingest_rows_per_second", "Rows per second of the bulk ingest that runs; 0 if none does.", value=rate)


def _rows_per_second(now: Progress) -> float:
    return (sum(now.counts.values()) + now.bad_rows) / now.seconds if now.seconds else 0.0


def _room(settings: Settings) -> Iterator[Metric]:
    try:
        usage = shutil.disk_usage(settings.data)
    except OSError:
        return
    yield GaugeMetricFamily("data_free_bytes", "Free bytes of the disk that the data folder is on.", value=usage.free)
    yield GaugeMetricFamily("data_size_bytes", "Bytes of the disk that the data folder is on.", value=usage.total)
