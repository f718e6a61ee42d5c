"""Load on a running service for minutes, with an ingest and publications beside it: is it level?

    make soak                                                # ten minutes, into docs/reliability/soak.svg and .json
    make soak ARGS="--minutes 2 --out runs/soak"
    make soak ARGS="--url http://127.0.0.1:8080 --pid 1234"  # a service that runs, and holds nothing dear: it is written to

16 clients ask for targets of 256 random images over connections that they keep, four of them reading slowly. The example captions
are ingested again and again, each time under other images, and a snapshot is published every sixtieth of the run; the service
holds eight, so under five minutes it is still warming up when it is judged. Ends with 1 if a check fails. A key for `--url`, with
all scopes, is NBCLIP_SERVICE_KEY; without `--pid` no process is watched.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

import httpx2
import numpy as np
from judge import Beside, Check, Sample, checks, fifths
from kg_service.graph import open_store
from kg_service.ingest.pipeline import ingest_items
from kg_service.linking.builder import build_linker
from kg_service.snapshot.publication import publish
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from load import KEY, Load, Tally, run_for
from nbclip.schemas.images import ImageItem
from plot import plot_soak
from watch import Watch
from wire import service

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
_PUBLICATIONS = 60


def main() -> None:
    arguments = _arguments()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 16)
    print(f"seed {seed}", flush=True)
    captions = _captions()[: arguments.images]
    with _service(arguments, captions) as (url, pid):
        snapshot, ids = _published(url, captions)
        every_s = 60 * arguments.minutes / _PUBLICATIONS
        load = Load(url, snapshot, ids, captions, arguments.n, arguments.clients, arguments.slow, every_s, seed)
        samples, tally, latencies = _soak(load, arguments.minutes, Watch(pid) if pid else None)
    beside = Beside(tally.jobs, tally.rows, tally.publications, tally.repeated, tally.different)
    found = checks(samples, beside)
    for message in tally.messages:
        print(f"error: {message}")
    figures = _figures(samples, latencies)
    print("\n".join(_table(figures, found)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "minutes": arguments.minutes,
        "clients": arguments.clients,
        "n": arguments.n,
        "figures": figures,
        "checks": [asdict(check) for check in found],
        "samples": [_short(asdict(sample)) for sample in samples[:: max(1, len(samples) // 120)]],
    }
    (arguments.out / "soak.json").write_text(json.dumps(report, indent=1) + "\n")
    plot_soak(arguments.out / "soak.svg", samples)
    raise SystemExit(0 if all(check.passed for check in found) else 1)


def _soak(load: Load, minutes: float, watch: Watch | None) -> tuple[list[Sample], Tally, list[float]]:
    """A sample of each second, the clients' tally, and the latencies in ms of all fast readers."""
    samples: list[Sample] = []
    tally, everyone = Tally(), []

    def look(second: float) -> None:
        latencies, requests, busy, errors = tally.turn()
        everyone.extend(1_000 * latency for latency in latencies)
        p50, p99 = 1_000 * np.percentile(latencies, [50, 99]) if latencies else (None, None)
        try:
            process = watch.sample() if watch else None
        except (FileNotFoundError, ProcessLookupError) as error:
            raise SystemExit("the service has ended") from error
        samples.append(Sample(round(second, 1), requests, busy, errors, _rounded(p50), _rounded(p99), process))
        if len(samples) % 60 == 0:
            print(f"{len(samples) // 60} min: {samples[-1]}", flush=True)

    asyncio.run(run_for(60 * minutes, load.tasks(tally), look))
    return samples, tally, everyone


def _figures(samples: Sequence[Sample], latencies: Sequence[float]) -> dict[str, str]:
    p50, p99 = np.percentile(latencies, [50, 99]) if latencies else (0, 0)
    requests, seconds = sum(sample.requests for sample in samples), samples[-1].second
    found = {
        "requests": f"{requests:,} in {seconds:.0f} s, {requests / seconds:.0f} a second",
        "429 or 503 with Retry-After": str(sum(sample.busy for sample in samples)),
        "p50, p99": f"{p50:.1f}, {p99:.1f} ms",
    }
    watched = [sample.process for sample in samples if sample.process]
    if watched:
        for name, unit in (("pss", " MB"), ("files", " MB"), ("cpu", " % of a core"), ("threads", "")):
            before, after = fifths([getattr(each, name) for each in watched])
            found[f"{name.upper() if name in {'pss', 'cpu'} else name}, second fifth and last"] = (
                f"{before:.0f}, {after:.0f}{unit}"
            )
        found["children's RSS at most"] = f"{max(each.children_rss for each in watched):.0f} MB"
    return found


def _table(figures: dict[str, str], found: Sequence[Check]) -> Iterator[str]:
    yield "\n| | measured | limit | passed |\n| --- | --- | --- | --- |"
    for what, figure in figures.items():
        yield f"| {what} | {figure} | | |"
    for check in found:
        yield f"| {check.what} | {check.figure} | {check.limit} | {'yes' if check.passed else '**no**'} |"


def _short(values: dict[str, Any]) -> dict[str, Any]:
    """With one decimal."""
    return {
        name: _short(value) if isinstance(value, dict) else round(value, 1) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 2)


def _captions() -> list[str]:
    with (EXAMPLES / "radiology-open" / "metadata.csv").open() as file:
        return [row["caption"] for row in csv.DictReader(file)]


@contextmanager
def _service(arguments: argparse.Namespace, captions: Sequence[str]) -> Iterator[tuple[str, int | None]]:
    """Address and process of the service that is asked."""
    if arguments.url:
        yield arguments.url, arguments.pid
        return
    with tempfile.TemporaryDirectory(prefix="nbclip-soak-") as scratch:
        data = Path(scratch)
        build_vocabulary(EXAMPLES / "vocabulary", data / "vocabulary")
        vocabulary = open_vocabulary(data / "vocabulary")
        store = open_store(str(data / "graph.sqlite"))
        items = [
            ImageItem(image_id=f"soak-{number:05}", caption=caption, split="train") for number, caption in enumerate(captions)
        ]
        ingest_items(items, store, build_linker("dictionary", vocabulary), vocabulary, "reject")
        publish(store, data / "snapshots", split="train", vocabulary=vocabulary.describe())
        store.close()
        with service(data, "--port", "0") as (connection, process):
            yield f"http://{connection.host}:{connection.port}", process.pid
            if process.poll() is not None:
                raise SystemExit(f"the service has ended: {(data / 'serve.log').read_text()[-2_000:]}")


def _published(url: str, captions: Sequence[str]) -> tuple[str, list[str]]:
    """The current snapshot, and the images that are asked for; a service of another's gets them first."""
    headers = {"authorization": f"Bearer {KEY}"} if KEY else {}
    with httpx2.Client(base_url=url, headers=headers, timeout=120) as client:
        ids = [f"soak-{number:05}" for number in range(len(captions))]
        if client.get(f"/images/{ids[-1]}").status_code == 404:
            _hand_in(client, ids, captions)
        snapshots = client.get("/snapshots").raise_for_status().json()["snapshots"]
        current = [snapshot["id"] for snapshot in snapshots if snapshot["current"]]
    return current[0], ids


def _hand_in(client: httpx2.Client, ids: Sequence[str], captions: Sequence[str]) -> None:
    items = [
        {"image_id": image_id, "caption": caption, "split": "train"} for image_id, caption in zip(ids, captions, strict=True)
    ]
    for start in range(0, len(items), 200):
        client.post("/images", json={"items": items[start : start + 200]}).raise_for_status()
    client.post("/snapshots", json={"split": "train"}).raise_for_status()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--slow", type=int, default=4, help="clients that read slowly, of those")
    parser.add_argument("--n", type=int, default=256, help="images of one request")
    parser.add_argument("--images", type=int, default=4_042, help="images of the snapshot")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--url", help="a service that runs already")
    parser.add_argument("--pid", type=int, help="its process, if it is on this machine")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reliability")
    return parser.parse_args()


if __name__ == "__main__":
    os.nice(5)
    main()
