"""The goals of serving, and whether a run's figures meet them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from page import shown

Figures = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Seconds, megabytes ÷ 1,000 or ratios ÷ 1,000, by table, N and row: a thousandth of what is shown."""

WIRE, KERNEL, CYPHER = "one answer", "kernel", "Cypher"
APPENDED, START, MEMORY = "appended", "start", "memory"
OVER_THE_WIRE = {256: (2.0, 1.7), 1024: (1.25, 1.15), 4096: (1.15,)}
"""N: the goal, and the one beyond it."""
VECTORS_MS = {1024: (1.5, 0.45), 4096: (1.5,)}
ELSEWHERE = {
    "full-size UMLS compiled in 60 s on 2 cores, 1 GB": "`make bench-vocabulary`",
    "embedded ingest 50k images/s, Neo4j 30k edges/s": "`make bench-stores`",
}
"""Goals that take longer to measure than the others together."""

Row = tuple[str, float, str, float]
"""What, the figure, its unit, the goal; less is better, but for ratios to Cypher."""


def goal_lines(figures: Figures) -> Iterator[str]:
    """A Markdown table of those goals that the run has figures for."""
    yield "| what | goal | measured | |"
    yield "| --- | ---: | ---: | --- |"
    for what, figure, unit, asked in _rows(figures):
        met = "met" if (figure >= asked if unit == "×" else figure <= asked) else "**not met**"
        sign, unit = "≥" if unit == "×" else "≤", f" {unit}" if unit else ""
        yield f"| {what} | {sign} {asked:,g}{unit} | {shown(figure)}{unit} | {met} |"
    for what, command in ELSEWHERE.items():
        yield f"| {what} | | {command} | |"


def _rows(figures: Figures) -> Iterator[Row]:
    for size, seconds in figures.get(WIRE, {}).items():
        if size in OVER_THE_WIRE:
            yield from _wire_rows(size, seconds, figures[KERNEL][size]["memcpy of S"])
    for size, seconds in figures.get(CYPHER, {}).items():
        for peer in ("Cypher", "GDS nodeSimilarity"):
            if peer in seconds:
                yield f"`/targets`, N = {size}, faster than {peer} by", seconds[peer] / seconds["/targets"], "×", 1_000
    for seconds in figures.get(APPENDED, {}).values():
        yield "10,000 new captions in memory", 1_000 * seconds["in memory"], "CPU ms", 20
        yield "10,000 new captions, durable", 1_000 * seconds["durable"], "CPU ms", 40
    for seconds in figures.get(START, {}).values():
        yield "process start to first answer", seconds["first answer after"], "s", 1.5
    for count, memory in figures.get(MEMORY, {}).items():
        if count > 1:
            copies = memory["of that the snapshot, PSS"] / (memory["of that the snapshot, RSS"] / count)
            yield f"copies of the snapshot's pages that {count} processes hold", copies, "", 1


def _wire_rows(size: int, seconds: Mapping[str, float], memcpy: float) -> Iterator[Row]:
    for way in ("TCP", "unix socket"):
        ratio = seconds[f"{way}, float32"] / seconds["in process, float32"]
        yield from _with_beyond(f"`/targets` by {way} ÷ in process, N = {size}", ratio, "", OVER_THE_WIRE[size])
    targets = seconds["in process, output targets"] / seconds["in process, float32"]
    yield f"`output: targets` ÷ similarity, in process, N = {size}", targets, "", 3
    if size == 4096:
        arithmetic = seconds["in process, float32"] - memcpy
        yield "67 MB over the unix socket ÷ memcpy", (seconds["unix socket, float32"] - arithmetic) / memcpy, "", 1.5
    if size in VECTORS_MS:
        yield from _with_beyond(f"representations, N = {size}", 1_000 * seconds["unix socket, vectors"], "ms", VECTORS_MS[size])


def _with_beyond(what: str, figure: float, unit: str, asked: Sequence[float]) -> Iterator[Row]:
    """A row for the goal, and one for the goal beyond it."""
    for name, goal in zip(("", ", the goal beyond"), asked, strict=False):
        yield f"{what}{name}", figure, unit, goal
