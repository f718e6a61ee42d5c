"""Batches of captions: a release of a few concepts, rows as people have them, executors that run here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kg_service.batch.link import Batch
from kg_service.batch.plan import LinkerChoice, Plan, linking_of, make_plan
from kg_service.batch.writing import write_plan
from kg_service.ingest.readers import ReadOptions
from kg_service.linking.dictionary.settings import DictionarySettings
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary

NAMES = {
    "C0000001": "pneumonia",
    "C0000002": "pleural effusion",
    "C0000003": "lung disease",
    "C0000004": "pneumothorax",
    "C0000005": "lung",
    "C0000006": "thorax",
}
_IS_A = [("C0000001", "C0000003"), ("C0000002", "C0000003"), ("C0000004", "C0000003")]
_RELATIONS = [("C0000001", "has_finding_site", "C0000005"), ("C0000005", "part_of", "C0000006")]


def small_vocabulary(folder: Path) -> Path:
    """The folder of a compiled vocabulary of six concepts, with is_a and typed relations."""
    rrf = folder / "rrf"
    rrf.mkdir(parents=True)
    edges = [f"{parent}|A1|AUI|CHD|{child}|A2|AUI|isa|R1||MSH|MSH|||N||" for child, parent in _IS_A]
    edges += [f"{target}|A1|AUI|RO|{subject}|A2|AUI|{name}|R1||MSH|MSH|||N||" for subject, name, target in _RELATIONS]
    rows = {
        "MRCONSO": [f"{cui}|ENG|P|L1|PF|S1|Y|A1||||MSH|PT|X1|{name}|0|N||" for cui, name in NAMES.items()],
        "MRREL": edges,
        "MRSTY": [f"{cui}|T047|A1|Disease or Syndrome|AT1||" for cui in NAMES],
    }
    for stem, lines in rows.items():
        (rrf / f"{stem}.RRF").write_text("".join(f"{line}\n" for line in lines))
    build_vocabulary(rrf, folder / "compiled", VocabularyFilters(relations=("has_finding_site", "part_of")))
    return folder / "compiled"


def some_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows in no order of their ids, some with CUIs, some of an id that was there before, some that can't be used."""
    generator = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in generator.sample(range(10 * count), count):
        words = [generator.choice([*NAMES.values(), "nothing", "no", "of the", "left"]) for _ in range(generator.randint(1, 6))]
        row = {"image_id": f"{generator.choice('aÄz')}{number}", "caption": " ".join(words), "cuis": "", "split": "train"}
        match generator.randrange(12):
            case 0:
                row["cuis"] = generator.choice(["C0000001", "C0000004 C0000002", "C7777777", "UBERON:0002048", "[]"])
            case 1 if rows:
                row = dict(generator.choice(rows))
            case 2 if rows:
                row["image_id"] = generator.choice(rows)["image_id"]
            case 3:
                row[generator.choice(["image_id", "caption"])] = ""
            case 4:
                row["split"] = "valid"
        rows.append(row)
    return rows


def planned(folder: Path, vocabulary: Path, files: list[Path], *, shard_rows: int = 5, **options: Any) -> tuple[Batch, Plan]:
    """A batch with its plan written, linked by the default linker."""
    choice, known = LinkerChoice("dictionary", DictionarySettings(), vocabulary), open_vocabulary(vocabulary)
    linking = linking_of(choice.open(known), choice.settings, known)
    plan = make_plan(files, ReadOptions(**options), linking, shard_rows=shard_rows)
    write_plan(folder, plan)
    return Batch(folder, plan.id, choice), plan


def in_turn(work: Callable[[int], Any], shards: list[int]) -> Iterator[tuple[int, Any]]:
    """An executor that does all in this process."""
    return ((number, work(number)) for number in shards)


def contents(folder: Path) -> dict[str, bytes]:
    """What was linked, by name."""
    return {path.name: path.read_bytes() for path in sorted((folder / "linked").iterdir())}


def done(folder: Path) -> dict[str, int]:
    """When each shard that is linked was noted as done, in nanoseconds, by name."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "done").glob("*.json")}
