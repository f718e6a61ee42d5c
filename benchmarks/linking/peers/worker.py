"""What a linker under test runs inside: its own process, in its own environment, JSON lines in and out.

    python -m peers.NAME build RRF TEXTS INDEX   compiles INDEX from the folder RRF (MRCONSO.RRF, MRREL.RRF, MRSTY.RRF); TEXTS
                                                 has texts without labels, a JSON string a line, for peers that learn from such
    python -m peers.NAME link INDEX SETTINGS     reads texts from stdin, a JSON string a line; writes their mentions,
                                                 [[start, end, cui, score], ...], a line each, then one line of figures

SETTINGS is a JSON object: `semantic_types` (TUIs to keep, none: all) and what the peer's `load` names. CPU time is that of
linking alone: loading, reading and writing do not count. Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Mention = tuple[int, int, str, float]
"""Start and end in the text (code points, end exclusive), CUI, score."""
Build = Callable[[Path, Path, Path], None]
Link = Callable[[Sequence[str]], list[list[Mention]]]

_BATCH = 256


def main(build: Build, load: Callable[[Path, dict[str, Any]], Link]) -> None:
    """Does what the command line says with a peer's two functions."""
    match sys.argv[1:]:
        case ["build", rrf, texts, index]:
            Path(index).mkdir(parents=True)
            build(Path(rrf), Path(texts), Path(index))
            built = {"cpu_s": time.process_time(), "peak_mb": peak_mb()}
            (Path(index) / "built.json").write_text(json.dumps(built))
        case ["link", index, settings]:
            _link(lambda: load(Path(index), json.loads(settings)))
        case _:
            sys.exit(__doc__)


def _link(load: Callable[[], Link]) -> None:
    # Peers print; stdout is for mentions.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    began = time.monotonic()
    link = load()
    load_s, cpu_s = time.monotonic() - began, 0.0
    texts = [json.loads(line) for line in sys.stdin]
    for start in range(0, len(texts), _BATCH):
        before = time.process_time()
        found = link(texts[start : start + _BATCH])
        cpu_s += time.process_time() - before
        answers.writelines(json.dumps(mentions) + "\n" for mentions in found)
    answers.write(json.dumps({"cpu_s": cpu_s, "load_s": load_s, "peak_mb": peak_mb()}) + "\n")
    answers.close()


def peak_mb() -> float:
    """Peak resident memory of this process in MB (Linux; getrusage would count the parent's from before exec)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def read_names(rrf: Path) -> Iterator[tuple[str, str, bool]]:
    """CUI, name and whether it is the concept's preferred one, of each row of MRCONSO."""
    with (rrf / "MRCONSO.RRF").open(encoding="utf-8") as lines:
        for line in lines:
            row = line.split("|")
            yield row[0], row[14], (row[2], row[4], row[6]) == ("P", "PF", "Y")


def read_types(rrf: Path) -> dict[str, list[str]]:
    """TUIs of each CUI."""
    types: dict[str, list[str]] = {}
    with (rrf / "MRSTY.RRF").open(encoding="utf-8") as lines:
        for line in lines:
            cui, tui, *_ = line.split("|")
            types.setdefault(cui, []).append(tui)
    return types


def read_texts(path: Path) -> list[str]:
    """The texts without labels."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
