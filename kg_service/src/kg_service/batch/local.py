"""Work in processes of this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")


def run_here(work: Callable[[int], Result], shards: Sequence[int], workers: int) -> Iterator[tuple[int, Result | None]]:
    """Shard and what `work` gave of it, as they end; None where the process that worked on it died.

    Args:
        work: a function of a module; what it raises ends all.
        shards: numbers.
        workers: how many processes there are. Each has one shard at a time, so that only that one goes with it.
    """
    processes: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
    for _ in range(workers):
        processes.put(_process())
    with ThreadPoolExecutor(workers) as threads:
        try:
            futures: dict[Future[Result | None], int] = {
                threads.submit(_in_one, processes, work, shard): shard for shard in shards
            }
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            threads.shutdown(cancel_futures=True)
            while not processes.empty():
                processes.get().shutdown()


def _in_one(processes: SimpleQueue[ProcessPoolExecutor], work: Callable[[int], Result], shard: int) -> Result | None:
    process = processes.get()
    try:
        return process.submit(work, shard).result()
    except BrokenProcessPool:
        process.shutdown()
        process = _process()
        return None
    finally:
        processes.put(process)


def _process() -> ProcessPoolExecutor:
    # Spawned, not forked: in it no thread of the parent holds a lock.
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Ends this process when the one that started it ends, however that ends."""
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
