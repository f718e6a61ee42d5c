"""This repository's dictionary linker with a prior fitted to labelled texts of the same corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kg_service.linking.dictionary.linker import open_dictionary_linker
from kg_service.linking.dictionary.prior import save_prior
from kg_service.linking.fitting.evaluation import LabelledCaption
from kg_service.linking.fitting.learning import learn
from kg_service.vocabulary.vocabulary import open_vocabulary

from peers import nbclip
from peers.worker import Link, main


def build(rrf: Path, texts: Path, index: Path) -> None:
    """The vocabulary, its name index, and the prior."""
    nbclip.build(rrf, texts, index)
    vocabulary = open_vocabulary(index / "vocabulary")
    linker, labelled = open_dictionary_linker(vocabulary), _read(texts)
    prior = learn(labelled, linker)
    save_prior(prior, index / "prior", vocabulary, linker=linker.name, captions=len(labelled))


def _read(texts: Path) -> list[LabelledCaption]:
    rows = map(json.loads, texts.read_text(encoding="utf-8").splitlines())
    return [
        LabelledCaption(
            row["text"], tuple((start, end, frozenset(cuis)) for start, end, cuis in row["spans"]), frozenset(row["cuis"])
        )
        for row in rows
    ]


def load(index: Path, settings: dict[str, Any]) -> Link:
    """Takes the fields of `LinkerSettings`."""
    return nbclip.load(index, {**settings, "prior": index / "prior"})


if __name__ == "__main__":
    main(build, load)
