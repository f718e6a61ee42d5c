"""Compiles a synthetic SNOMED CT release in RF2, and says what that takes.

    python benchmarks/vocabulary/rf2.py [--concepts 350000]

Names are recombined from the open example vocabulary (`names.py`), identifiers are of a made-up namespace: nothing of SNOMED CT
is in them. A concept has a fully specified name and 3.2 synonyms, 1.6 parents and 2.5 attributes; a quarter of what there is is
inactive.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from kg_service.vocabulary.formats.snomed_ids import are_sctids
from names import compose, read_material
from rows import taken, weighted
from watch import run

_DATE = "20260101"
_IS_A, _KINDS = 116680003, np.array([363698007, 116676008, 123005000])
_MODULE, _US = "900000000000207008", "900000000000509007"
_PREFERRED, _ACCEPTABLE = "900000000000548007", "900000000000549004"
_FULL, _SYNONYM = "900000000000003001", "900000000000013009"
_TAGS = ("disorder", "finding", "body structure", "procedure", "substance", "organism", "qualifier value")
_TAG_SHARES = (0.24, 0.12, 0.12, 0.18, 0.1, 0.14, 0.1)
_INACTIVE, _SYNONYMS, _PARENTS, _ATTRIBUTES = 0.25, 3.2, 1.6, 2.5
_HEADERS = {
    "Terminology/sct2_Concept_Snapshot": "id effectiveTime active moduleId definitionStatusId",
    "Terminology/sct2_Description_Snapshot-en": (
        "id effectiveTime active moduleId conceptId languageCode typeId term caseSignificanceId"
    ),
    "Terminology/sct2_Relationship_Snapshot": (
        "id effectiveTime active moduleId sourceId destinationId relationshipGroup typeId characteristicTypeId modifierId"
    ),
    "Refset/Language/der2_cRefset_LanguageSnapshot-en": (
        "id effectiveTime active moduleId refsetId referencedComponentId acceptabilityId"
    ),
}

Ints = npt.NDArray[np.int64]


def identifiers(count: int, partition: str) -> Ints:
    """As many identifiers of one partition, ascending, each with its check digit."""
    whole = np.arange(100_000, 100_000 + count, dtype=np.int64) * 10**10 + int(f"1000999{partition}0")
    found = whole.copy()
    for last in range(10):
        texts = (whole + last).astype("S18")
        length = np.char.str_len(texts).astype(np.int64)
        data = np.frombuffer(b"".join(texts.tolist()), np.uint8)
        end = np.cumsum(length)
        found = np.where(are_sctids(data, end - length, end), whole + last, found)
    return found


def write_release(folder: Path, concepts: int, seed: int = 1) -> dict[str, int]:
    """Writes the four files of a snapshot; returns how many rows each has."""
    luck = np.random.default_rng(seed)
    ids = identifiers(concepts, "10")
    own = np.repeat(ids, 1 + luck.poisson(_SYNONYMS, concepts))
    is_full = np.diff(own, prepend=0) != 0
    english = pa.array(np.full(len(own), "ENG"))
    names = pc.replace_substring_regex(compose(read_material(luck), luck, english), r"[\t\r\n|]", " ")
    tags = pc.binary_join_element_wise(" (", taken(_TAGS, weighted(luck, _TAG_SHARES, len(own))), ")", "")
    named = identifiers(len(own), "11")
    parents, attributes = (luck.poisson(mean, concepts) for mean in (_PARENTS, _ATTRIBUTES))
    child = np.repeat(np.arange(concepts), parents)
    parent = (child * luck.random(len(child))).astype(np.int64)
    source = np.repeat(ids, attributes)
    edges = identifiers(len(child) + len(source), "12")
    kinds = np.concatenate((np.full(len(child), _IS_A), luck.choice(_KINDS, len(source))))
    accepted = np.where(is_full | (np.roll(is_full, 1)), _PREFERRED, _ACCEPTABLE)
    columns: Sequence[Sequence[Any]] = (
        (ids, _DATE, _active(luck, concepts), _MODULE, "900000000000074008"),
        (
            *(named, _DATE, _active(luck, len(own)), _MODULE, own, "en", np.where(is_full, _FULL, _SYNONYM)),
            *(pc.binary_join_element_wise(names, pc.if_else(pa.array(is_full), tags, ""), ""), "900000000000448009"),
        ),
        (
            *(edges, _DATE, _active(luck, len(edges)), _MODULE, np.concatenate((ids[child], source))),
            *(
                np.concatenate((ids[parent], luck.choice(ids, len(source)))),
                "0",
                kinds,
                "900000000000011006",
                "900000000000451002",
            ),
        ),
        (named, _DATE, "1", _MODULE, _US, named, accepted),
    )
    rows = {}
    for (stem, header), values in zip(_HEADERS.items(), columns, strict=True):
        path = folder / "Snapshot" / f"{stem}_INT_{_DATE}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = pc.binary_join_element_wise(*map(_texts, values), "\t")
        path.write_bytes("\t".join(header.split()).encode() + b"\r\n" + "\r\n".join(lines.to_pylist()).encode() + b"\r\n")
        rows[path.name] = len(lines)
    return rows


def _active(luck: np.random.Generator, count: int) -> npt.NDArray[np.str_]:
    return np.where(luck.random(count) < _INACTIVE, "0", "1")


def _texts(values: Any) -> Any:
    return pa.array(values).cast(pa.string()) if isinstance(values, np.ndarray) else values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=350_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, data = Path(name) / "release", Path(name) / "data"
        for file, rows in write_release(folder, chosen.concepts).items():
            print(f"{file}: {rows:,} rows")
        size = sum(path.stat().st_size for path in folder.rglob("*.txt"))
        command = (Path(sys.executable).with_name("kg-service"), "vocabulary", "build", folder, "--data", data)
        relations = ("--relation", "has_finding_site", "--relation", "part_of")
        reading, indexing = run((*command, *relations), (data / "vocabulary" / "manifest.json").exists)
        print(f"{size / 1e6:.0f} MB of text")
        for what, cost in (("vocabulary", reading), ("index of names", indexing)):
            took = f"{cost.wall_s:.1f} s, {cost.cpu_s:.1f} s CPU"
            print(f"{what}: {took}, {cost.peak_mb:.0f} MB at most, {cost.own_mb:.0f} MB its own")


if __name__ == "__main__":
    main()
