"""Several ranks of a run as processes of their own, which talk over gloo."""

from __future__ import annotations

import os
import socket
import traceback

from nbclip_trainer.parallel.settings import DeviceSettings
from nbclip_trainer.parallel.world import joined
from support.forking import forking

_SECONDS = 240


def run_ranks(function, *arguments, ranks=2):
    """What `function(world, *arguments)` returned on each rank, in their order; the first error of any is raised."""
    context, port, running = forking(), _free_port(), []
    for rank in range(ranks):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_be_rank, args=(theirs, rank, ranks, port, function, arguments))
        process.start()
        theirs.close()
        running.append((process, mine))
    try:
        return [_result(mine) for _, mine in running]
    finally:
        for process, mine in running:
            process.join(10)
            process.kill()
            process.join()
            mine.close()


def _result(pipe):
    if not pipe.poll(_SECONDS):
        raise TimeoutError("a rank said nothing")
    kind, value = pipe.recv()
    if kind == "error":
        raise AssertionError(value)
    return value


def _be_rank(pipe, rank, ranks, port, function, arguments):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        with joined(DeviceSettings(name="cpu"), patience=_SECONDS) as world:
            pipe.send(("result", function(world, *arguments)))
    except BaseException:
        pipe.send(("error", f"rank {rank}: {traceback.format_exc()}"))
        raise


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
