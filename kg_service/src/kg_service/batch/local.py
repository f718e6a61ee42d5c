"""Work in processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")
_CONTEXT = get_context("spawn")
"""Not forked: in a process that is spawned no thread of the parent holds a lock."""


def run_here(
    work: Callable[[int], Result], shards: Sequence[int], workers: int
) -> Generator[tuple[int, Result | None], None, None]:
    """Shard and what `work` gave of it, as they end; None where the process that worked on it died.

    Args:
        work: a function of a module; what it raises ends all.
        shards: numbers.
        workers: how many processes there are. Each has one shard at a time, so that only that one goes with it.
    """
    hears, says = _CONTEXT.Pipe(duplex=False)
    processes: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
    for _ in range(workers):
        processes.put(_process(hears))
    with hears, ThreadPoolExecutor(workers, initializer=_start_deaf_to_ctrl_c) as threads:
        try:
            futures: dict[Future[Result | None], int] = {
                threads.submit(_in_one, processes, work, shard, hears): shard for shard in shards
            }
            for future in as_completed(futures):
                yield futures[future], future.result()
        except (KeyboardInterrupt, GeneratorExit):  # who asked stops, or goes away
            says.close()
            raise
        finally:
            threads.shutdown(cancel_futures=True)
            while not processes.empty():
                processes.get().shutdown()
            says.close()


def _in_one(
    processes: SimpleQueue[ProcessPoolExecutor], work: Callable[[int], Result], shard: int, hears: Connection
) -> Result | None:
    process = processes.get()
    try:
        return process.submit(work, shard).result()
    except BrokenProcessPool:
        process.shutdown()
        process = _process(hears)
        return None
    finally:
        processes.put(process)


def _start_deaf_to_ctrl_c() -> None:
    """What this thread starts does not hear Ctrl-C, which a terminal says to all: this process ends it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _process(hears: Connection) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, _CONTEXT, initializer=_end_with_parent, initargs=(hears,))


def _end_with_parent(hears: Connection) -> None:
    """Ends this process when the one that started it ends, however that ends, or closes the other end of a pipe."""
    threading.Thread(target=_wait_and_end, args=(hears,), daemon=True).start()


def _wait_and_end(hears: Connection) -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel, hears])
        os._exit(1)
