"""The embedded store and Neo4j beside each other, on one synthetic graph in one run, as Markdown tables.

    make bench-stores ARGS="--images 100000"

The server is that of NEO4J_URI, NEO4J_USER and NEO4J_PASSWORD, whose database must be empty, or one that is started with the
memory that docker-compose.yml gives it, and Java's usual compilers. Those need some 100,000 images to warm up, so `--warm-up`
ingests the graph once before it is measured. CPU seconds of server and client stand beside the time, which others delay.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from kg_service.graph import open_store
from kg_service.graph.exports.neo4j_admin import export_neo4j_admin
from kg_service.graph.exports.parquet import export_parquet
from kg_service.graph.exports.transfer import copy
from kg_service.graph.store import GraphBatch, GraphStore, ImageNode
from support.neo4j.choice import choose
from support.neo4j.database import claim, wipe
from support.neo4j.offline import import_offline
from support.neo4j.server import Neo4jServer, OwnServer
from support.neo4j.ways import ways_to_own
from synthetic import batches

_REPEATS = 20
_SETTINGS = {
    "server.memory.heap.initial_size": "512m",
    "server.memory.heap.max_size": "1g",
    "server.memory.pagecache.size": "512m",
}


def main() -> None:
    arguments = _arguments()
    graph = list(batches(arguments.images, arguments.batch))
    with tempfile.TemporaryDirectory() as name, closing(open_store(f"{name}/graph.sqlite")) as embedded:
        folder = Path(name)
        here = {"ingest": _seconds(lambda: _write(embedded, graph))} | _measured(embedded, graph)
        with _server(folder / "server") as (server, own):
            print(f"Neo4j: {'of NEO4J_URI' if own is None else _SETTINGS}, warmed up: {'yes' if arguments.warm_up else 'no'}\n")
            for _ in range(arguments.warm_up):
                with closing(_opened(server, folder / "mirror")) as store:
                    _write(store, graph)
                wipe(server)
            with closing(_opened(server, folder / "mirror")) as store:
                cost = _cost(lambda: _write(store, graph), own)
                there = {"ingest": cost[0]} | _measured(store, graph)
            moves = _moves(embedded, server, own, folder)
        counts = embedded.counts()
    _print_table(("ingest into Neo4j", "seconds", "attributes/s"), _costs(cost, counts.attributes))
    print(f"{counts}, ingested {arguments.batch} images at a time\n")
    _print_table(("", "embedded", "Neo4j", "Neo4j ÷ embedded"), _compared(here, there))
    _print_table(("", "s", "images/s", "attributes/s"), _rates(moves, counts.images, counts.attributes))


def _measured(store: GraphStore, graph: Sequence[GraphBatch]) -> dict[str, float]:
    """Seconds of what a service asks of its store."""
    one, another = (GraphBatch([ImageNode(image_id, "a caption")]) for image_id in ("one more", "and another"))
    middle, cui = graph[len(graph) // 2].images[0].image_id, graph[0].images[0].attributes[0].cui
    return {
        "whole graph, first read": _seconds(store.read_graph),
        "whole graph, nothing new": _seconds(store.read_graph),
        "one image": _seconds(lambda: store.write(one)),
        "one more image": _seconds(lambda: store.write(another)),
        "whole graph, two images new": _seconds(store.read_graph),
        "page of 100 images": _median(lambda: store.images(after=middle)),
        "image count of the most frequent concept": _median(lambda: store.image_count(cui)),
    }


def _write(store: GraphStore, graph: Sequence[GraphBatch]) -> None:
    for batch in graph:
        store.write(batch)


def _cost(work: Callable[[], object], own: OwnServer | None) -> tuple[float, float, float | None]:
    """Seconds of time, of this process's CPU and of the server's (None: it can't be seen)."""
    server, here = own and own.cpu_s(), time.process_time()
    seconds = _seconds(work)
    return seconds, time.process_time() - here, own.cpu_s() - server if own and server is not None else None


def _moves(embedded: GraphStore, server: Neo4jServer, own: OwnServer | None, folder: Path) -> dict[str, float]:
    """Seconds of the ways from one store to another; an offline import needs a server that can be stopped."""
    wipe(server)
    with closing(_opened(server, folder / "mirror")) as store:
        seconds = {"copy to Neo4j": _seconds(lambda: copy(embedded, store))}
        with closing(open_store(str(folder / "back.sqlite"))) as back:
            seconds["copy from Neo4j"] = _seconds(lambda: copy(store, back))
    seconds["export parquet"] = _seconds(lambda: export_parquet(embedded, folder / "parquet"))
    seconds["export neo4j-admin"] = _seconds(lambda: export_neo4j_admin(embedded, folder / "csv"))
    if own:
        own.stop()
        seconds["import of that, offline"] = _seconds(lambda: import_offline(own, folder / "csv", folder))
        own.start()
        with closing(_opened(server, folder / "mirror")) as store:
            seconds["constraints, on first use"] = _seconds(store.check)
    return seconds


@contextmanager
def _server(folder: Path) -> Iterator[tuple[Neo4jServer, OwnServer | None]]:
    if "NEO4J_URI" in os.environ:
        login = os.environ.get("NEO4J_USER", "neo4j"), os.environ.get("NEO4J_PASSWORD", "")
        server = Neo4jServer(os.environ["NEO4J_URI"], *login)
        claim(server)
        wipe(server)
        yield server, None
        wipe(server)
        return
    with closing(choose(ways_to_own(os.environ)).found(folder, settings=_SETTINGS, starts_fast=False)) as own:
        own.start()
        yield own.server, own


def _opened(server: Neo4jServer, mirror: Path) -> GraphStore:
    return open_store(server.uri, user=server.user, password=server.password, mirror=mirror, bulk=True)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _median(work: Callable[[], object]) -> float:
    return statistics.median(_seconds(work) for _ in range(_REPEATS))


def _compared(here: Mapping[str, float], there: Mapping[str, float]) -> Iterator[tuple[str, ...]]:
    return ((name, _shown(here[name]), _shown(there[name]), f"{there[name] / here[name]:.1f}") for name in here)


def _rates(seconds: Mapping[str, float], images: int, attributes: int) -> Iterator[tuple[str, ...]]:
    return ((name, f"{took:.1f}", f"{images / took:.0f}", f"{attributes / took:.0f}") for name, took in seconds.items())


def _costs(cost: tuple[float, float, float | None], attributes: int) -> Iterator[tuple[str, ...]]:
    named = zip(("time", "CPU of the client", "CPU of the server"), cost, strict=True)
    return ((name, f"{spent:.1f}", f"{attributes / spent:.0f}") for name, spent in named if spent)


def _shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1_000:.3g} ms"


def _print_table(header: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    for row in (header, ("---", *["---:"] * (len(header) - 1)), *rows):
        print(f"| {' | '.join(row)} |")
    print()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=2_000, help="images of one transaction")
    parser.add_argument("--warm-up", type=int, default=1, help="how often the graph is ingested before")
    return parser.parse_args()


if __name__ == "__main__":
    main()
