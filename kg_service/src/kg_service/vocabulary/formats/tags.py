"""Semantic types of concepts whose vocabulary has other kinds: the nearest TUI of each."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

Kind = Literal["tag", "root", "namespace"]


@cache
def types_of(kind: Kind) -> dict[str, tuple[str, str]]:
    """TUI and its name, by a semantic tag of SNOMED CT, the name of a root, or a namespace or prefix, in small letters."""
    return {key: (tui, name) for row_kind, key, tui, name in _rows() if row_kind == kind}


@cache
def _rows() -> tuple[tuple[str, str, str, str], ...]:
    text = (resources.files("kg_service.vocabulary") / "data" / "semantic_tags.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return tuple((kind, key, tui, name) for kind, key, tui, name in rows)
