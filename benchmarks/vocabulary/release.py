"""Writes a synthetic release of UMLS size as RRF files: `python benchmarks/vocabulary/release.py FOLDER [--scale .01]`.

At scale 1: 16 million atoms of 4 million concepts in MRCONSO, 12 million rows in MRREL, 5.2 million in MRSTY, and MRRANK: 3.3 GB.
The same scale and seed give the same bytes. What a compiler must find in it is counted on the way, by other code than the
compiler's.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from names import Material, compose, read_material
from relations import write_relations
from rows import Ints, identifiers, taken, weighted, write_rows
from sources import ENGLISH, FOREIGN, RELEASE, Source

CONCEPTS, ATOMS, RELATION_ROWS = 4_000_000, 16_000_000, 12_000_000
SEED = 42
_BATCH = 50_000
"""Concepts written at once."""
_LARGEST, _EXPONENT = 600, 1.96
"""Atoms of the largest concepts, and of Zipf's law: a mean of about 4."""
_FIRST_ENGLISH, _OTHER_ENGLISH = 0.97, 0.61
_FIRST_SUPPRESSED, _OTHER_SUPPRESSED, _RETIRED = 0.06, 0.30, 0.02
_REPEATED = 0.15
"""Atoms that another source gives the same text as the one before."""
_EXTRA_TYPES = (0.25, 0.05)
_KINDS = [(source, term_type) for source in (*ENGLISH, *FOREIGN) for term_type in source.term_types.split()]


@dataclass(frozen=True, slots=True)
class Written:
    """What a release holds.

    Attributes:
        atoms, relations, semantic_types: rows of MRCONSO, MRREL and MRSTY.
        concepts: CUIs of MRCONSO and MRSTY.
        kept_concepts: those with a name in English that is not suppressed.
        kept_names: such names, each once a concept.
        kept_edges: distinct is_a edges between kept concepts, those of cycles too, without self-loops.
        size: bytes of all files.
    """

    atoms: int
    relations: int
    semantic_types: int
    concepts: int
    kept_concepts: int
    kept_names: int
    kept_edges: int
    size: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    start = time.process_time()
    written = write_release(arguments.folder, arguments.scale, arguments.seed)
    print(json.dumps({**asdict(written), "cpu_s": round(time.process_time() - start, 1)}))


def write_release(folder: Path, scale: float = 1.0, seed: int = SEED) -> Written:
    """Writes MRCONSO, MRREL, MRSTY, MRRANK and release.dat into `folder`; holds a few hundred bytes a concept in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = [max(round(scale * full), 100) for full in (CONCEPTS, ATOMS, RELATION_ROWS)]
    atoms_luck, relations_luck, types_luck = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(3))
    cui = np.cumsum(1 + (atoms_luck.random(counts[0]) < 0.4)).astype(np.int64)
    first_atom = np.concatenate(([0], np.cumsum(_sizes(atoms_luck, counts[0], counts[1]))))
    kept, names = _write_atoms(folder / "MRCONSO.RRF", cui, first_atom, atoms_luck)
    relations, edges = write_relations(folder / "MRREL.RRF", cui, first_atom[:-1], kept, counts[2], relations_luck)
    types = _write_types(folder / "MRSTY.RRF", cui, types_luck)
    _write_ranks(folder / "MRRANK.RRF")
    (folder / "release.dat").write_text(f"umls.release.name={RELEASE}\n", encoding="ascii")
    size = sum(file.stat().st_size for file in folder.iterdir())
    return Written(int(first_atom[-1]), relations, types, len(cui), int(kept.sum()), names, edges, size)


def _sizes(luck: np.random.Generator, concepts: int, atoms: int) -> Ints:
    """Atoms of each concept, `atoms` in all: Zipf's law, but for single ones added or taken to meet the sum."""
    sizes = 1 + weighted(luck, np.arange(1, _LARGEST + 1) ** -_EXPONENT, concepts)
    while missing := atoms - int(sizes.sum()):
        changed = luck.choice(concepts if missing > 0 else np.flatnonzero(sizes > 1), min(abs(missing), concepts // 2))
        np.add.at(sizes, np.unique(changed), np.sign(missing))
    return sizes


def _write_atoms(path: Path, cui: Ints, first_atom: Ints, luck: np.random.Generator) -> tuple[npt.NDArray[np.bool_], int]:
    """Writes MRCONSO in the order of CUIs; returns which concepts keep a name, and how many names are kept."""
    material, kept, names = read_material(luck), np.zeros(len(cui), np.bool_), 0
    with path.open("wb") as stream:
        for start in range(0, len(cui), _BATCH):
            bounds = first_atom[start : start + _BATCH + 1]
            concept = np.repeat(np.arange(start, start + len(bounds) - 1), np.diff(bounds))
            atom = np.arange(bounds[0], bounds[-1])
            columns, good = _atoms(cui[concept], atom, atom == first_atom[concept], material, luck)
            write_rows(stream, columns)
            kept[concept[good]] = True
            table = pa.table({"concept": concept[good], "text": columns[14].filter(pa.array(good))})
            names += table.group_by(["concept", "text"], use_threads=False).aggregate([]).num_rows
    return kept, names


def _atoms(
    cui: Ints, atom: Ints, first: npt.NDArray[np.bool_], material: Material, luck: np.random.Generator
) -> tuple[list[pa.Array | str], npt.NDArray[np.bool_]]:
    """Columns of MRCONSO for a batch of atoms, `first` being each concept's first; and which of them a compiler keeps."""
    count = len(atom)
    kind = _kinds(first, luck)
    lat = taken([source.lat for source, _ in _KINDS], kind)
    repeated = ~first & (luck.random(count) < _REPEATED)
    # Across languages a text is not repeated.
    repeated[1:] &= (pc.equal(lat[1:], lat[:-1])).to_numpy(zero_copy_only=False)
    origin = np.maximum.accumulate(np.where(repeated, 0, np.arange(count)))
    text = compose(material, luck, lat).take(pa.array(origin))
    concept_start = np.maximum.accumulate(np.where(first, np.arange(count), 0))
    retired = (luck.random(count) < _RETIRED)[concept_start]
    dropped = retired | (luck.random(count) < np.where(first, _FIRST_SUPPRESSED, _OTHER_SUPPRESSED))
    suppress = np.where(dropped, np.where(retired, 1, 1 + weighted(luck, (0.55, 0.05, 0.4), count)), 0)
    rest = [np.where(first, 0, weighted(luck, shares, count)) for shares in ((1, 3), (12, 5, 2, 1), (3, 2))]
    ts, stt, ispref = (taken(values, drawn) for values, drawn in zip((("P", "S"), ("PF", "VO", "VC", "VW"), ("Y", "N")), rest))  # noqa: B905
    code = identifiers("M", luck.integers(0, 10**7, count), 7)
    english = pc.equal(lat, "ENG").to_numpy(zero_copy_only=False)
    sab, tty = taken([source.sab for source, _ in _KINDS], kind), taken([term_type for _, term_type in _KINDS], kind)
    lui, sui, aui = (identifiers(letter, numbers) for letter, numbers in (("L", atom[origin]), ("S", atom[origin]), ("A", atom)))
    scui = pc.if_else(pa.array(luck.random(count) < 0.6), code, "")
    cvf = taken(("", "256"), weighted(luck, (9, 1), count))
    srl = taken(("0", "1", "3", "9"), weighted(luck, (6, 1, 2, 2), count))
    columns = [identifiers("C", cui, 7), lat, ts, lui, stt, sui, ispref, aui, "", scui, "", sab, tty, code, text, srl]
    return [*columns, taken(("N", "O", "E", "Y"), suppress), cvf], english & ~dropped


def _kinds(first: npt.NDArray[np.bool_], luck: np.random.Generator) -> Ints:
    """Which of `_KINDS` each atom is."""
    count = len(first)
    english = luck.random(count) < np.where(first, _FIRST_ENGLISH, _OTHER_ENGLISH)
    ours, theirs = _shares(ENGLISH), _shares(FOREIGN)
    return np.where(english, weighted(luck, ours, count), len(ours) + weighted(luck, theirs, count))


def _shares(sources: tuple[Source, ...]) -> list[float]:
    """The share of every SAB and TTY: a source's first term types are its most frequent."""
    shares: list[float] = []
    for source in sources:
        parts = [1 / (place + 1) for place in range(len(source.term_types.split()))]
        shares += [source.share * part / sum(parts) for part in parts]
    return shares


def _write_types(path: Path, cui: Ints, luck: np.random.Generator) -> int:
    """Writes MRSTY in the order of CUIs; returns its rows."""
    rows = 0
    types, shares = _semantic_types()
    with path.open("wb") as stream:
        for batch in _batches(cui):
            several = 1 + sum((luck.random(len(batch)) < share).astype(np.int64) for share in _EXTRA_TYPES)
            of = np.repeat(batch, several)
            place = np.arange(len(of)) - np.repeat(np.cumsum(several) - several, several)
            # Neighbours in the list of types, so that those of one concept differ.
            drawn = (np.repeat(weighted(luck, shares, len(batch)), several) + place) % len(types)
            middle = [taken([row.split("|")[column] for row in types], drawn) for column in range(3)]
            write_rows(stream, [identifiers("C", of, 7), *middle, identifiers("T", rows + np.arange(len(of))), ""])
            rows += len(of)
    return rows


def _batches(cui: Ints) -> Iterator[Ints]:
    return (cui[start : start + _BATCH] for start in range(0, len(cui), _BATCH))


def _semantic_types() -> tuple[list[str], list[int]]:
    """TUI, tree number and name of the example's semantic types, and how often each stands there."""
    path = Path(__file__).parents[2] / "examples" / "vocabulary" / "MRSTY.RRF.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = ["|".join(line.split("|")[1:4]) for line in lines]
    types = sorted(set(rows))
    return types, [rows.count(each) for each in types]


def _write_ranks(path: Path) -> None:
    lines = (f"{len(_KINDS) - place:04d}|{source.sab}|{term_type}|N|\n" for place, (source, term_type) in enumerate(_KINDS))
    path.write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
