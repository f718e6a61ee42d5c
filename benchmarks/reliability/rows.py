"""The acceptance rows: what must hold, the tests that hold it with their full counts, how long they may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One promise.

    Attributes:
        name: R1 to R17.
        what: what is done to it.
        tests: arguments of pytest; none for a row of commands alone.
        limit_s: seconds after which it is ended, and has failed.
        least: how much of each property there must be; `tests` counts the tests themselves.
        commands: run beside the tests; each ends with 0.
    """

    name: str
    what: str
    tests: tuple[str, ...]
    limit_s: int
    least: Mapping[str, int] = field(default_factory=dict)
    commands: tuple[tuple[str, ...], ...] = ()


_API, _FAULTS, _SERVICE, _TRAINER = "tests/integration/api", "tests/faults", "tests/unit/kg_service", "tests/unit/trainer"
_DAMAGED = {f"damaged {form} rows": 5_000 for form in ("csv", "tsv", "txt", "ndjson", "rrf")}

ROWS = (
    Row("R1", "requests generated from the schema, with a key", (f"{_API}/test_schema.py",), 20 * _MINUTE_S, {"cases": 2_000}),
    Row(
        "R2",
        "hostile HTTP",
        (f"{_API}/test_abuse.py", f"{_API}/test_process.py", f"{_API}/test_connections.py"),
        10 * _MINUTE_S,
        {"tests": 150},
    ),
    Row("R3", "the service killed in ingests", (f"{_FAULTS}/test_service_killed.py",), 30 * _MINUTE_S, {"kills": 50}),
    Row("R4", "Neo4j killed in one ingest", (f"{_FAULTS}/test_killed.py",), 40 * _MINUTE_S, {"ends of Neo4j": 20}),
    Row(
        "R5",
        "Neo4j frozen; slow, reset, cut off, silent or closed by a proxy; away; a wrong password",
        (f"{_FAULTS}/test_silent.py", f"{_FAULTS}/nightly/test_proxy.py", f"{_FAULTS}/test_away.py"),
        30 * _MINUTE_S,
        {"silences of 30 s": 3, "faults": 7},
    ),
    Row(
        "R6",
        "the disk full, of Neo4j and of the service",
        (f"{_FAULTS}/test_disk_full.py", f"{_FAULTS}/nightly/test_service_disk_full.py"),
        15 * _MINUTE_S,
        {"tests": 2},
    ),
    Row(
        "R7",
        "SIGKILL at the n-th flush, rename, exchange, creation or removal; and of commands at random instants",
        (
            f"{_SERVICE}/storage/test_replacement.py",
            f"{_SERVICE}/vocabulary/test_deaths.py",
            f"{_SERVICE}/linking/test_deaths.py",
            f"{_SERVICE}/snapshot/test_deaths.py",
            f"{_SERVICE}/jobs/test_deaths.py",
            f"{_SERVICE}/app/test_keys.py",
            f"{_TRAINER}/runs/test_checkpoint.py",
            f"{_API}/test_jobs.py",
            f"{_API}/test_publication_jobs.py",
            f"{_FAULTS}/test_commands_killed.py",
            "-k",
            "dying_at_any_write or killed_at_any_place or is_killed_leaves",
        ),
        30 * _MINUTE_S,
        {"tests": 25, "deaths": 600, "kills of a build": 25, "kills of a publication": 25},
    ),
    Row(
        "R8",
        "stores beside a model in memory",
        ("tests/contract/test_graph_store.py", "tests/contract/test_machine.py"),
        15 * _MINUTE_S,
        {"sequences": 60},
    ),
    Row(
        "R9",
        "damaged rows, three files of each format",
        (f"{_SERVICE}/ingest/test_readers.py", f"{_SERVICE}/vocabulary/test_builder.py", "-k", "many_damaged_rows"),
        10 * _MINUTE_S,
        _DAMAGED,
    ),
    Row("R10", "load, an ingest and publications, 10 minutes", (), 15 * _MINUTE_S, commands=(("make", "soak", "ARGS="),)),
    Row(
        "R11",
        "the trainer killed, and one of two ranks",
        (
            f"{_TRAINER}/training/test_loop.py",
            f"{_TRAINER}/parallel/test_ranks.py",
            "-k",
            "killed_process or rank_is_killed",
        ),
        15 * _MINUTE_S,
        {"kills of the trainer": 5, "kills of a rank": 3},
    ),
    Row(
        "R12",
        "the service away under a training, and gone for good",
        (f"{_FAULTS}/test_training.py",),
        15 * _MINUTE_S,
        {"s without the service": 60},
    ),
    Row("R13", "every route with every kind of key", (f"{_API}/test_auth.py",), 10 * _MINUTE_S, {"tests": 10}),
    Row(
        "R14",
        "lock floors, compose rules, bandit, secrets, bill of materials",
        ("tests/unit/security", "tests/unit/compose"),
        15 * _MINUTE_S,
        {"tests": 10},
        (("make", "check"), ("make", "sbom")),
    ),
    Row(
        "R15",
        "readers, codec and linker fuzzed, a minute each",
        ("tests/fuzz/test_corpora.py", "tests/fuzz/nightly/test_fuzzed.py"),
        40 * _MINUTE_S,
        {"targets": 13, "inputs": 20_000},
    ),
    Row(
        "R16",
        "a batch by five executors; it, and a worker, raylet, node, head or driver of a Ray cluster, killed; refusals",
        (
            f"{_FAULTS}/test_batch_killed.py",
            f"{_FAULTS}/test_ray_cluster.py",
            f"{_FAULTS}/nightly/test_batch_executors.py",
            f"{_FAULTS}/nightly/test_batch_refused.py",
            f"{_FAULTS}/nightly/test_ray_killed.py",
        ),
        45 * _MINUTE_S,
        {"executors": 5, "kills of a batch": 24, "kills on a Ray cluster": 25},
    ),
    Row(
        "R17",
        "the packages built twice; the demo by their wheels, where no checkout is",
        ("tests/packages/test_built.py", "tests/packages/test_installed.py", "tests/packages/nightly/test_demo.py"),
        30 * _MINUTE_S,
        {"tests": 28, "runs from wheels": 3},
    ),
)
