"""The UMLS semantic groups: fifteen coarse kinds of concepts, such as ANAT (anatomy), DISO (disorders) and PROC (procedures)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import resources


@cache
def group_types() -> dict[str, tuple[str, ...]]:
    """TUIs of each group."""
    return {group: tuple(tuis.split()) for group, _, tuis in _rows()}


@cache
def group_names() -> dict[str, str]:
    """What each group is called."""
    return {group: name for group, name, _ in _rows()}


def groups_of(tuis: Iterable[str]) -> tuple[str, ...]:
    """The groups that semantic types belong to, in alphabetical order; a TUI that no group has is left out."""
    of_tui = _group_of_type()
    return tuple(sorted({of_tui[tui] for tui in tuis if tui in of_tui}))


def _rows() -> list[list[str]]:
    text = (resources.files("kg_service.vocabulary") / "data" / "semantic_groups.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


@cache
def _group_of_type() -> dict[str, str]:
    return {tui: group for group, tuis in group_types().items() for tui in tuis}
