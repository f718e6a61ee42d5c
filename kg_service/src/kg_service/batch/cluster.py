"""Work on the nodes of a Ray cluster, the only file that imports Ray.

The cluster shares the folder of the batch, the files of captions and the vocabulary, under the same paths. Only shards' numbers
and records go through Ray.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

from nbclip.errors import Conflict, InvalidInput, NBClipError, Unavailable

from kg_service.batch.heads import AGAIN, reach, watched
from kg_service.batch.link import Batch, open_batch
from kg_service.batch.plan import Plan
from kg_service.batch.run import Executor
from kg_service.errors import MissingExtra
from kg_service.storage.scratch import new_place

LOCAL: Final = "local"
"""The address of a cluster of this machine alone, which is started for the batch, with a token of its own, and ends with it."""
AUTO: Final = "auto"
"""The address of the cluster that `RAY_ADDRESS` names, or else of the one that runs on this machine."""
_PACKAGE = "nbclip-kg-service"
_CHECKED_WITHIN_S = 120.0
_OWN: Final = {"include_dashboard": False, "object_store_memory": 100_000_000}
"""Options of a cluster that is started here. Ray takes a third of the memory for objects if it isn't told, and has few."""
_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` Ray would send the working folder to every node.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # What its processes say is printed, even without `log_to_driver`, unless it matches.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    # Times that it asks a head that listens but doesn't answer, 40 s each; 20 if it isn't told.
    "RAY_NUM_REDIS_GET_RETRIES": "3",
}

Result = TypeVar("Result")


@contextmanager
def on_cluster(address: str, workers: int, batch: Batch, plan: Plan) -> Iterator[Executor]:
    """An executor whose processes are those of a Ray cluster, as many as it has CPUs.

    Args:
        address: as `ray.init` has it: `HOST:PORT`, `AUTO` or `LOCAL`.
        workers: processes of a `LOCAL` one.
        batch: what is linked; every node must be able to.
        plan: its plan.

    Raises:
        MissingExtra: Ray is not installed.
        InvalidInput: it is no such address, such as one of Ray's client or jobs.
        Unavailable: there is no such cluster, or it can't be used.
        Conflict: a node lacks the package, or has another version of it, or lacks the folder, a file of captions or the
            vocabulary, or would link otherwise than planned.
    """
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS") or AUTO
    if address not in (AUTO, LOCAL):
        _refuse_unreachable(address)
    with _connected(address, workers) as gone:
        with new_place(batch.folder) as place:
            seen = [source.path for source in plan.sources if source.path.exists()]
            _refuse_unfit_nodes([place, batch.linker.vocabulary, *seen], batch)
        yield partial(_run_there, gone)


def _refuse_unreachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    if "/" in host or not host or not port.isdecimal():
        raise InvalidInput(
            f"--ray {address:.80}: no address of a Ray cluster's head",
            hint=f"on a node of the cluster: --ray HOST:PORT or {AUTO}; to start one here: --ray {LOCAL}",
        )
    try:
        reach(address)
    except (OSError, OverflowError) as error:
        raise _unusable(address, error) from error


def _unusable(address: str, error: Exception) -> Unavailable:
    reason = str(error).strip().partition("\n")[0]
    return Unavailable(f"can't use the Ray cluster {address}: {reason}", hint=f"see ray status; --ray {LOCAL} starts one here")


@contextmanager
def _connected(address: str, workers: int) -> Iterator[Future[Any]]:
    """Ray's driver in this process, and what raises Unavailable once the head is gone.

    Nothing of Ray's own is said, reported to its makers or copied to the nodes.
    """
    if find_spec("ray") is None:
        raise MissingExtra("ray", "--ray")
    # Ray reads them when it is imported.
    os.environ.update(_ENVIRONMENT)
    own: dict[str, Any] = {}
    if address == LOCAL:
        own = {"num_cpus": workers, **_OWN}
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray

    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with _silent_stderr():
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except Exception as error:
        # Ray has no class for it, and raises some as `Exception` itself.
        raise _unusable(address, error) from error
    # Ray would end with another status.
    signal.signal(signal.SIGTERM, on_term)
    try:
        with watched(ray.get_runtime_context().gcs_address, _answers) as gone:
            yield gone
    finally:
        if gone.cancelled():
            ray.shutdown()
        else:
            # It would wait for the head, until Ray ends this process.
            atexit.unregister(ray.shutdown)


def _answers() -> bool:
    """Whether the head answers as the one that this process connected to: another one in its place refuses."""
    from ray.exceptions import RayError
    from ray.experimental.internal_kv import _internal_kv_get

    try:
        return bool(_internal_kv_get(b"session_name", namespace=b"session"))
    except RayError:
        return False


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Lets this process write nothing there during the block; Ray's part in C++ does, past Python, while it connects."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _refuse_unfit_nodes(paths: Sequence[Path], batch: Batch) -> None:
    """Raises Conflict where a node lacks what it needs, and Unavailable where none can work or one doesn't answer."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not nodes:
        raise Unavailable("no node of the Ray cluster has a CPU", hint="see ray status")
    own = version(_PACKAGE)
    hint = f"all nodes need {_PACKAGE} {own}, and the same files under the same paths"
    for check, what in ((_lack_of_node(), (_PACKAGE, own, list(map(str, paths)))), (_unready, (batch,))):
        for named, problem in _of_each(nodes, check, *what):
            if problem:
                raise Conflict(f"{named} {problem}", hint=hint)


def _of_each(
    nodes: Sequence[Mapping[str, Any]], check: Callable[..., str | None], *what: Any
) -> Iterator[tuple[str, str | None]]:
    """Each node, named, and what a function gave there; but for nodes that are gone by then."""
    import ray
    from ray.exceptions import GetTimeoutError, NodeDiedError, TaskUnschedulableError, WorkerCrashedError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    task = ray.remote(num_cpus=0, max_retries=0)(check)
    asked = [task.options(scheduling_strategy=On(node["NodeID"], soft=False)).remote(*what) for node in nodes]
    for node, answer in zip(nodes, asked, strict=True):
        named = f"node {node['NodeManagerHostname']} ({node['NodeName']})"
        try:
            yield named, ray.get(answer, timeout=_CHECKED_WITHIN_S)
        except GetTimeoutError as error:
            raise Unavailable(f"{named} did not answer in {_CHECKED_WITHIN_S:g} s", hint="see ray status") from error
        except (NodeDiedError, TaskUnschedulableError, WorkerCrashedError):
            continue


def _lack_of_node() -> Callable[[str, str, list[str]], str | None]:
    """What finds out what a node lacks; a node without this package gets it as code, as it is no function of a module."""

    def lack(package: str, own: str, paths: list[str]) -> str | None:
        from importlib.metadata import PackageNotFoundError, version
        from pathlib import Path

        try:
            here = version(package)
        except PackageNotFoundError:
            return f"does not have {package}"
        if here != own:
            return f"has {package} {here}, not {own}"
        return next((f"does not see {path}" for path in paths if not Path(path).exists()), None)

    return lack


def _unready(batch: Batch) -> str | None:
    try:
        open_batch(batch)
    except NBClipError as error:
        return f"can't link: {error.message}"
    return None


def _run_there(
    gone: Future[Any], work: Callable[[int], Result], shards: Sequence[int]
) -> Generator[tuple[int, Result | None], None, None]:
    """As `run_here`, in processes of the cluster that this process is connected to, until it is `gone`."""
    import ray

    # Tried again by the one who counts how often.
    task = ray.remote(max_retries=0)(_on_node)
    futures = {task.remote(work, shard).future(): shard for shard in shards}
    for future in as_completed([*futures, gone]):
        given = _given(future)
        yield futures.pop(future), given
        if not futures:
            break


def _on_node(work: Callable[[int], Result], shard: int) -> Result:
    try:
        return work(shard)
    except NBClipError as error:
        error.message = f"node {socket.gethostname()}: {error.message}"
        raise


def _given(future: Future[Result]) -> Result | None:
    """What a task gave; None where its process or its node died. What it raised ends all."""
    from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

    try:
        return future.result()
    except RayTaskError as error:
        raise error.cause from None
    except (NodeDiedError, ObjectLostError, OutOfMemoryError, WorkerCrashedError):
        return None
    except RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise Unavailable(f"the Ray cluster failed: {reason}", hint=AGAIN) from error
