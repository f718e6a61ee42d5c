"""The package's word lists."""

from __future__ import annotations

from importlib import resources


def read_table(file: str) -> list[list[str]]:
    """Rows of a tab-separated file of the package's `data` folder; lines that begin with # are left out."""
    text = (resources.files("kg_service.linking") / "data" / file).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
