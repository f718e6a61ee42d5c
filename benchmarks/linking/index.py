"""Compiles a vocabulary of UMLS size, made of synthetic names, and says what that takes: `python benchmarks/linking/index.py`.

Names are recombined from the open vocabulary's: its words put in the places of others, names joined, numbered and qualified, as
procedures, drugs and laboratory tests are in the UMLS, whose names are longer than the open ones. Nothing of the UMLS is in them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from corpora import data_folder
from peers.worker import peak_mb
from runner import CACHE, say

NAMES = 9_000_000
_NAMES_PER_CONCEPT = 2.7
"""About what the English part of the UMLS has."""
_SUFFIXES = (
    "type {}",
    "grade {}",
    "stage {}",
    "left",
    "right",
    "{} mg",
    "{} mg tablet",
    "bilateral",
    "acute",
    "chronic",
    "region {}",
)
_SEED = 42


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--names", type=int, default=NAMES)
    parser.add_argument("--memory-limit", default="512MB", help="what DuckDB may use (default: 512MB, that of build_vocabulary)")
    parser.add_argument("--child", nargs=3, metavar=("STEP", "RRF", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        step, rrf, out = arguments.child
        _report(step, Path(rrf), Path(out), arguments.memory_limit)
        return
    os.nice(10)
    rrf, out = CACHE / f"synthetic-{arguments.names}.rrf", CACHE / f"synthetic-{arguments.names}" / "vocabulary"
    if not (rrf / "MRSTY.RRF").is_file():
        say(f"making {arguments.names:,} names in {rrf}")
        write_release(rrf, arguments.names)
    shutil.rmtree(out.parent, ignore_errors=True)
    for step in ("vocabulary", "names", "open"):
        say(f"{step} …")
        command = [sys.executable, __file__, "--memory-limit", arguments.memory_limit, "--child", step, str(rrf), str(out)]
        if status := subprocess.run(command).returncode:
            sys.exit(status)


def _report(step: str, rrf: Path, out: Path, memory_limit: str) -> None:
    """Does one step, for its own process: memory peaks per process."""
    from kg_service.linking.builder import build_linker, index_folder
    from kg_service.vocabulary.vocabulary import open_vocabulary

    wall, cpu = time.monotonic(), time.process_time()
    match step:
        case "vocabulary":
            from kg_service.vocabulary.builder import build_vocabulary

            build_vocabulary(rrf, out, memory_limit=memory_limit)
            size = _size_mb(out)
        case "names":
            build_linker("dictionary", open_vocabulary(out))
            size = _size_mb(index_folder(out))
        case _:
            linker = build_linker("dictionary", open_vocabulary(out))
            linker.link(["Chest X-ray: pleural effusion, no pneumothorax."])
            size = _size_mb(out.parent)
    figures = {"wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - cpu, "peak_mb": peak_mb(), "size_mb": size}
    print(json.dumps({"step": step, **{name: round(value, 2) for name, value in figures.items()}}))


def _size_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def write_release(folder: Path, count: int) -> None:
    """MRCONSO, MRREL and MRSTY of `count` distinct names; MRSTY comes last, so a release with it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    luck = random.Random(_SEED)
    concepts = int(count / _NAMES_PER_CONCEPT)
    with (folder / "MRCONSO.RRF").open("w", encoding="utf-8") as out:
        for i, name in enumerate(_distinct(_names(luck), count)):
            concept = i % concepts
            rank = "P|L|PF|S|Y" if i < concepts else "S|L|VO|S|N"
            out.write(f"C{concept:07d}|ENG|{rank}|A{i:08d}||||MSH|{'MH' if i < concepts else 'ET'}|D{concept}|{name}|0|N||\n")
    with (folder / "MRREL.RRF").open("w", encoding="utf-8") as out:
        for child in range(1, concepts):
            parent = luck.randrange(max(0, child // 20), child // 2 + 1)
            out.write(f"C{parent:07d}|A|AUI|CHD|C{child:07d}|A|AUI|isa|R{child}||MSH|MSH|||N||\n")
    types = _types()
    with (folder / "MRSTY.RRF").open("w", encoding="utf-8") as out:
        out.writelines(f"C{concept:07d}|{luck.choice(types)}|AT{concept}||\n" for concept in range(concepts))


def _types() -> list[str]:
    """TUI, tree number and name of each row of the open MRSTY: as often as they stand there."""
    lines = (data_folder() / "open-umls" / "MRSTY.RRF").read_text(encoding="utf-8").splitlines()
    return ["|".join(line.split("|")[1:4]) for line in lines]


def _names(luck: random.Random) -> Iterator[str]:
    """Real names, then endlessly others like them."""
    with gzip.open(data_folder() / "open-umls" / "MRCONSO.RRF.gz", "rt", encoding="utf-8") as rows:
        real = [line.split("|")[14] for line in rows]
    yield from real
    words = [word for name in real for word in name.split()]
    while True:
        parts = luck.choice(real).split()
        parts[luck.randrange(len(parts))] = luck.choice(words)
        if luck.random() < 0.35:
            parts += ["with", *luck.choice(real).split()]
        if luck.random() < 0.5:
            parts.append(luck.choice(_SUFFIXES).format(luck.randint(1, 500)))
        yield " ".join(parts)


def _distinct(names: Iterator[str], count: int) -> Iterator[str]:
    seen: set[int] = set()
    while len(seen) < count:
        name = next(names)
        if (key := hash(name)) not in seen:
            seen.add(key)
            yield name


if __name__ == "__main__":
    main()
