"""Labelled texts and the vocabularies they are linked with, from the data folder.

It is NBCLIP_DATA, or `shared/data` beside the repository.

BC5CDR has spans; ROCO has concepts per caption, no spans; MedMentions has both, its text rebuilt from tokens. What each is, and
under which terms, is in the README of its folder there.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from kg_service.linking.builder import build_linker
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.format import FORMAT
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.vocabulary import Vocabulary, open_vocabulary

Span = tuple[int, int, frozenset[str]]
VocabularyName = Literal["A", "B"]

FITTING_DOCUMENTS = 2135
"""MedMentions' training documents that may be learned from (1 to this); the later ones are for reporting."""

_CACHE = Path.home() / ".cache" / "nbclip-bench"
_TEXT_SOURCE = "MEDMENTIONS"


@dataclass(frozen=True, slots=True)
class Document:
    """A labelled text.

    Attributes:
        id: of the corpus.
        text: the caption or abstract.
        spans: start, end (code points, end exclusive) and the concepts that are right there; none: unknown.
        cuis: the concepts of the whole text.
    """

    id: str
    text: str
    spans: tuple[Span, ...]
    cuis: frozenset[str]


def data_folder() -> Path:
    """Where the corpora lie.

    Raises:
        SystemExit: they are not there.
    """
    folder = Path(os.environ.get("NBCLIP_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    if not (folder / "open-umls").is_dir():
        raise SystemExit(f"no corpora in {folder}: set NBCLIP_DATA to the folder with open-umls, bc5cdr, medmentions and roco")
    return folder


def bc5cdr(part: Literal["train", "dev"]) -> list[Document]:
    """500 abstracts with disease spans; a span without a concept is kept, and scoring leaves it out."""
    return [
        _with_spans(row["id"], row["text"], [(start, end, frozenset(cuis)) for start, end, cuis in row["spans"]])
        for row in _rows(data_folder() / "bc5cdr" / f"bc5cdr_{part}.jsonl.gz")
    ]


def roco(first: int = 1, last: int = 8180) -> list[Document]:
    """Radiology captions `first` to `last` (from 1) of ROCO's validation part, with the concepts of each."""
    folder = data_folder() / "roco" / "validation" / "radiology"
    captions = dict(line.split("\t", 1) for line in (folder / "captions.txt").read_text(encoding="utf-8").splitlines())
    rows = (line.split("\t") for line in (folder / "cuis.txt").read_text(encoding="utf-8").splitlines())
    cuis = {identifier: frozenset(filter(None, found)) for identifier, *found in rows}
    documents = [Document(key, text.strip(), (), cuis.get(key, frozenset())) for key, text in captions.items()]
    return documents[first - 1 : last]


def medmentions(first: int, last: int) -> list[Document]:
    """Training documents `first` to `last` (from 1)."""
    rows = _rows(data_folder() / "medmentions" / "medmentions_st21pv_train.jsonl.gz")
    return [_from_tokens(row) for row in islice(rows, first - 1, last)]


@cache
def vocabulary(name: VocabularyName) -> Vocabulary:
    """A: the open vocabulary without strings taken from MedMentions; B: with those of the fitting documents.

    Compiled once, with the linker's index, into `~/.cache/nbclip-bench`.
    """
    folder = _CACHE / f"{name}-{FORMAT}"
    if not (folder / "manifest.json").is_file():
        release = _CACHE / f"{name}.rrf"
        _write_release(release, _strings_of_medmentions() if name == "B" else ())
        build_vocabulary(release, folder, VocabularyFilters(), release=f"open-umls {name}")
        build_linker("dictionary", open_vocabulary(folder))
    return open_vocabulary(folder)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def _with_spans(identifier: str, text: str, spans: list[Span]) -> Document:
    return Document(identifier, text, tuple(spans), frozenset(cui for *_, cuis in spans for cui in cuis))


def _from_tokens(row: dict[str, Any]) -> Document:
    text, spans = "", []
    for sentence in row["sentences"]:
        bounds = []
        for token in sentence["tokens"]:
            text += " " if text else ""
            bounds.append((len(text), len(text) + len(token)))
            text += token
        spans += [(bounds[start][0], bounds[end - 1][1], frozenset({cui})) for start, end, cui in sentence["mentions"]]
    return _with_spans(row["pmid"], text, spans)


def _write_release(folder: Path, more: Iterator[str] | tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    source = data_folder() / "open-umls"
    for file in ("MRREL.RRF", "MRSTY.RRF"):
        (folder / file).write_bytes((source / file).read_bytes())
    with gzip.open(source / "MRCONSO.RRF.gz", "rt", encoding="utf-8") as rows, (folder / "MRCONSO.RRF").open("w") as out:
        out.writelines(row for row in rows if row.split("|")[11] != _TEXT_SOURCE)
        out.writelines(more)


def _strings_of_medmentions() -> Iterator[str]:
    """One row a string and concept; suppressed where the string means another concept at least twice as often."""
    counts: Counter[tuple[str, str]] = Counter()
    for document in medmentions(1, FITTING_DOCUMENTS):
        counts.update((document.text[start:end], cui) for start, end, cuis in document.spans for cui in cuis)
    by_folded: Counter[tuple[str, str]] = Counter()
    for (text, cui), count in counts.items():
        by_folded[text.casefold(), cui] += count
    most: dict[str, int] = {}
    for (folded, _), count in by_folded.items():
        most[folded] = max(count, most.get(folded, 0))
    for text, cui in sorted(counts):
        suppress = "Y" if 2 * by_folded[text.casefold(), cui] <= most[text.casefold()] else "N"
        yield f"{cui}|ENG|S|L1|PF|S1|Y|A1||||{_TEXT_SOURCE}|MM|{cui}|{text}|0|{suppress}||\n"
