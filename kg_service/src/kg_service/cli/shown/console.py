"""How the command shows things on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nbclip.schemas.snapshots import AppendCounts
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from kg_service.app.doctor import Finding
    from kg_service.graph.store import GraphCounts
    from kg_service.ingest.pipeline import IngestReport
    from kg_service.snapshot.manifest import Manifest
    from kg_service.vocabulary.model import BuildReport


def stdout() -> Console:
    """For what was asked for."""
    return Console(highlight=False)


def stderr() -> Console:
    """For progress and complaints."""
    return Console(stderr=True, highlight=False)


def complain(message: str, hint: str) -> None:
    """One line that says what is wrong, and one that says the way out."""
    stderr().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    if hint:
        stderr().print(Text.assemble(("hint: ", "bold"), hint), soft_wrap=True)


def progress_bar() -> Progress:
    """Bars on standard error, gone when done; none where it is no terminal."""
    console = stderr()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def file_progress(progress: Progress) -> Callable[[str, int, int], None]:
    """A bar for each file that a build reads."""
    tasks: dict[str, TaskID] = {}

    def show(file: str, done: int, size: int) -> None:
        if file not in tasks:
            tasks[file] = progress.add_task(file, total=size)
        progress.update(tasks[file], completed=done)

    return show


def row_progress(progress: Progress, file: str) -> Callable[[IngestReport], None]:
    """One bar for a file that is ingested, with rows and rate."""
    task = progress.add_task(file, total=None)

    def show(report: IngestReport) -> None:
        described = f"{file} · {report.rows} rows · {report.rate:.0f}/s"
        progress.update(task, description=described, completed=report.bytes_read, total=report.bytes_total)

    return show


def image_progress(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    """One bar for a graph that is read image by image, with the rate."""
    task = progress.add_task(what, total=total)

    def show(images: int) -> None:
        rate = images / max(progress.tasks[task].elapsed or 0, 1e-9)
        progress.update(task, description=f"{what} · {images} images · {rate:.0f}/s", completed=images)

    return show


def build_table(report: BuildReport, folder: Path) -> Table:
    """What a vocabulary holds."""
    table = Table("vocabulary", str(folder))
    for what in ("release", "concepts", "names", "is_a"):
        table.add_row(what, str(getattr(report, what)))
    table.add_row("is_a cut from cycles", str(len(report.cut_edges)))
    table.add_row("bad rows", str(report.bad_row_count))
    return table


def counts_table(counts: Mapping[str, GraphCounts]) -> Table:
    """Graphs beside one another."""
    table = Table("graph", "images", "concepts", "attributes", "is_a")
    for name, of in counts.items():
        table.add_row(Text(name), *map(str, (of.images, of.concepts, of.attributes, of.is_a)))
    return table


def part_text(manifest: Manifest) -> str:
    """The part of the graph that a snapshot has, such as `split=train`; empty if it is the whole."""
    return " ".join(f"{name}={value}" for name, value in (("dataset", manifest.dataset), ("split", manifest.split)) if value)


def append_lines(counts: AppendCounts, manifest: Manifest) -> Iterator[str]:
    """What came of an append that gave a snapshot, and what it left."""
    lacking = f", {counts.without_vector} of them without a concept that the base knows" if counts.without_vector else ""
    part = f" of {part_text(manifest)}" if part_text(manifest) else ""
    yield f"{counts.appended} images appended{lacking}" if counts.appended else f"nothing new{part}: the snapshot is as it was"
    if counts.elsewhere:
        yield f"{counts.elsewhere} images of the graph are not{part}: rows need it, in columns or by options of ingest"
    if counts.concepts_left_out:
        yield f"{counts.concepts_left_out} concepts of new images left out: no published image has them, or a concept below them"
    if counts.replaced or counts.deleted:
        yield f"{counts.replaced} replaced, {counts.deleted} deleted since: publish anew, kg-service snapshot publish"


def finding_line(finding: Finding) -> Text:
    """A part and how it is."""
    mark = ("✓ ", "bold green") if finding.well else ("✗ ", "bold red")
    return Text.assemble(mark, (f"{finding.part}: ", "bold"), finding.message)
