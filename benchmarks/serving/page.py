"""Tables of figures, printed and written into a page of docs/ between its markers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def table_lines(title: str, columns: Mapping[int, Mapping[str, float]]) -> Iterator[str]:
    """A Markdown table, a column for each N; values are shown a thousandfold."""
    yield f"| {title} | {' | '.join(f'N = {size:,}' for size in columns)} |"
    yield f"| --- |{' ---: |' * len(columns)}"
    names = list(dict.fromkeys(name for values in columns.values() for name in values))
    for name in names:
        cells = (shown(1_000 * values[name]) if name in values else "" for values in columns.values())
        yield f"| {name} | {' | '.join(cells)} |"


def shown(value: float) -> str:
    """Three digits, more before the point where there are more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_between(marker: str, text: str, path: Path = PAGE) -> None:
    """Replaces what a page has between `<!-- marker -->` and `<!-- /marker -->`."""
    between = re.compile(rf"(?<=<!-- {marker} -->\n).*(?=<!-- /{marker} -->)", re.DOTALL)
    page = path.read_text(encoding="utf-8")
    path.write_text(between.sub(lambda _: text.strip() + "\n", page), encoding="utf-8")
