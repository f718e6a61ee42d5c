"""A Slurm of one machine: `srun`, `scontrol` and `apptainer` in a folder for PATH, and jobs that run a batch script with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from support.waiting import eventually

_SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do
  SLURM_PROCID=$rank SLURM_LOCALID=$rank SLURM_STEP_NUM_TASKS=$SLURM_NTASKS "$@" &
  pids[rank]=$!
done
echo "${pids[@]}" >>"$FAKE_SLURM/tasks"
highest=0
for pid in "${pids[@]}"; do
  status=0
  wait "$pid" || status=$?
  ((status > highest)) && highest=$status
done
exit $highest
"""
_SCONTROL = """#!/bin/bash
case $1 in
  show) echo 127.0.0.1 ;;
  requeue) echo "$2" >>"$FAKE_SLURM/requeued" ;;
  *) exit 1 ;;
esac
"""
_APPTAINER = """#!/bin/bash
echo "$@" >>"$FAKE_SLURM/apptainer"
[ "$1" = exec ] || exit 1
while [[ $1 != *.sif ]]; do shift; done
shift
exec "$@"
"""


class FakeSlurm:
    """Runs batch scripts; a job's tasks are real processes."""

    def __init__(self, folder: Path, tasks: int = 2) -> None:
        self._folder, self._tasks = folder, tasks
        (folder / "bin").mkdir(parents=True)
        for name, text in {"srun": _SRUN, "scontrol": _SCONTROL, "apptainer": _APPTAINER}.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def start(self, script: Path, environment: dict[str, str], restarts: int = 0) -> subprocess.Popen[str]:
        """A job, as Slurm starts it in the folder it was submitted from."""
        variables = {
            "PATH": f"{self._folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FAKE_SLURM": str(self._folder),
            "SLURM_JOB_ID": str(_free_port() - 20_000),
            "SLURM_JOB_NODELIST": "node[1]",
            "SLURM_NTASKS": str(self._tasks),
            "SLURM_RESTART_COUNT": str(restarts),
        }
        return subprocess.Popen(
            ["bash", script], cwd=self._folder, env={**os.environ, **variables, **environment}, stderr=subprocess.PIPE, text=True
        )

    def signal_tasks(self, signum: signal.Signals, ranks: slice = slice(None)) -> None:
        """What `--signal` does when the time is nearly up: to all tasks of the step, or to some of them alone."""
        eventually((self._folder / "tasks").exists, 60)
        for pid in (self._folder / "tasks").read_text().splitlines()[-1].split()[ranks]:
            os.kill(int(pid), signum)

    def said(self, name: str) -> list[str]:
        """What `requeued` or `apptainer` was told, a line each."""
        path = self._folder / name
        return path.read_text().splitlines() if path.exists() else []


def _free_port() -> int:
    """A port as train.sbatch makes them of a job's number."""
    while True:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = int(found.getsockname()[1])
        if 20_000 <= port < 40_000:
            return port
