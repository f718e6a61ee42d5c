"""A small disk of a test's own: a tmpfs that only one process's mount namespace has, and so is gone with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

# Also run in containers.
FILL = """free=$(($(stat --file-system --format '%a * %S' "$1"))) && fallocate --length $((free - $2)) "$1/ballast" """
FREE = """rm "$1/ballast" """
_HOLD = """mount -t tmpfs -o "size=$2" nbclip-tests "$1" && echo mounted && exec cat"""


class SmallDisk:
    """A disk of `size` bytes on `folder`, for commands that begin with `inside`."""

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        holder = ["unshare", "--map-root-user", "--mount", "sh", "-c", _HOLD, "sh", str(folder), str(size)]
        # It ends with its standard input, and that with this process.
        self._holder = subprocess.Popen(
            holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        namespaces = ["--target", str(self._holder.pid), "--user", "--preserve-credentials", "--mount"]
        self.inside = ["nsenter", *namespaces, "--"]
        self._folder = folder
        assert self._holder.stdout is not None
        said = self._holder.stdout.readline()
        if said != "mounted\n":
            self.close()
            raise OSError(f"can't mount a small disk for the test ({said.strip()}); a Docker Engine would do, too")

    def fill(self, leaving: int) -> None:
        """Leaves so many bytes free."""
        self.run(FILL, str(leaving))

    def free(self) -> None:
        """Takes back `fill`."""
        self.run(FREE)

    def run(self, script: str, *arguments: str) -> str:
        """What a shell script prints of which $1 is the disk's folder."""
        command = [*self.inside, "sh", "-c", script, "sh", str(self._folder), *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def close(self) -> None:
        """Unmounts it."""
        with self._holder:
            self._holder.kill()
