"""mmlite, a Python port of NLM's MetaMapLite. Without its part-of-speech tagger, whose spaCy model is not on PyPI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmlite import MetaMapLite
from mmlite.config import Settings
from mmlite.index.build import build_index

from peers.worker import Link, Mention, main


def build(rrf: Path, texts: Path, index: Path) -> None:
    """Its own SQLite index."""
    build_index(rrf / "MRCONSO.RRF", rrf / "MRSTY.RRF", index)


def load(index: Path, settings: dict[str, Any]) -> Link:
    """`precision_filter` is mmlite's own; `concepts` is how many of a span's concepts count (it does not rank them)."""
    linker = MetaMapLite(
        Settings(
            index_directory=index,
            enable_postagging=False,
            detect_negations=False,
            semantic_types=settings["semantic_types"],
            precision_filter=settings["precision_filter"],
        )
    )

    def link_one(text: str) -> list[Mention]:
        entities = linker.process_text(text)
        return [(entity.start, entity.end, cui, 1.0) for entity in entities for cui in entity.cuis[: settings["concepts"]]]

    return lambda texts: [link_one(text) for text in texts]


if __name__ == "__main__":
    main(build, load)
