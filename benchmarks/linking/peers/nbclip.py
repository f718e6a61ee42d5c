"""This repository's dictionary linker, as `kg-service vocabulary build` and `kg-service link` make and use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kg_service.linking.builder import build_linker
from kg_service.linking.linkers import linker_kind
from kg_service.linking.model import Linker
from kg_service.vocabulary.vocabulary import open_vocabulary

from peers.worker import Link, Mention, main


def build(rrf: Path, texts: Path, index: Path) -> None:
    """The vocabulary and, beside it, its name index."""
    # Linking needs nothing of what this brings in, and its memory should not count there.
    from kg_service.vocabulary.builder import build_vocabulary

    build_vocabulary(rrf, index / "vocabulary")
    build_linker("dictionary", open_vocabulary(index / "vocabulary"))


def load(index: Path, settings: dict[str, Any], name: str = "dictionary") -> Link:
    """Takes the fields of the linker's settings."""
    chosen = replace(linker_kind(name).settings, **{**settings, "semantic_types": tuple(settings["semantic_types"])})
    linker = build_linker(name, open_vocabulary(index / "vocabulary"), chosen)
    return lambda texts: _link(linker, texts)


def _link(linker: Linker, texts: Sequence[str]) -> list[list[Mention]]:
    return [[(found.start, found.end, found.cui, found.score) for found in linked.mentions] for linked in linker.link(texts)]


if __name__ == "__main__":
    main(build, load)
