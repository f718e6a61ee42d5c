"""What the command prints on a terminal: tables, progress, errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nbclip.schemas.snapshots import AppendCounts
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from kg_service.vocabulary.format import UNKNOWN

if TYPE_CHECKING:
    from kg_service.app.doctor import Finding
    from kg_service.graph.store import GraphCounts
    from kg_service.ingest.pipeline import IngestReport
    from kg_service.snapshot.manifest import Manifest
    from kg_service.vocabulary.model import BuildReport


def stdout() -> Console:
    """The console for results."""
    return Console(highlight=False)


def stderr() -> Console:
    """The console for progress and errors."""
    return Console(stderr=True, highlight=False)


def complain(message: str, hint: str) -> None:
    """Prints one line that says what is wrong, and one that says how to fix it."""
    _tell(("error: ", "bold red"), message, hint)


def note(message: str, hint: str = "") -> None:
    """Prints one line on what is done but may not be as wanted, and one that says what to do about it."""
    _tell(("note: ", "bold yellow"), message, hint)


def _tell(kind: tuple[str, str], message: str, hint: str) -> None:
    stderr().print(Text.assemble(kind, message), soft_wrap=True)
    if hint:
        stderr().print(Text.assemble(("hint: ", "bold"), hint), soft_wrap=True)


def progress_bar() -> Progress:
    """Progress bars on standard error, removed when done; none if it is not a terminal."""
    console = stderr()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def file_progress(progress: Progress) -> Callable[[str, int, int], None]:
    """Shows one bar for each file that a build reads."""
    tasks: dict[str, TaskID] = {}

    def show(file: str, done: int, size: int) -> None:
        if file not in tasks:
            tasks[file] = progress.add_task(file, total=size)
        progress.update(tasks[file], completed=done)

    return show


def row_progress(progress: Progress, file: str) -> Callable[[IngestReport], None]:
    """Shows one bar for an ingested file, with rows and rate."""
    task = progress.add_task(file, total=None)

    def show(report: IngestReport) -> None:
        described = f"{file} · {report.rows} rows · {report.rate:.0f}/s"
        progress.update(task, description=described, completed=report.bytes_read, total=report.bytes_total)

    return show


def ingest_line(report: IngestReport) -> str:
    """What became of an ingested file's rows, and why some were left out."""
    parts = [f"{count} {outcome}" for outcome, count in sorted(report.counts.items())]
    if report.bad_rows:
        parts.append(f"{report.bad_rows} left out ({', '.join(f'{count} {kind}' for kind, count in report.kinds.items())})")
    counts = ", ".join(parts) or "nothing"
    return f"{counts}, of {report.rows} rows read in {report.seconds:.1f} s ({report.rate:.0f} rows/s)"


def unknown_line(report: IngestReport) -> str:
    """How many CUIs given the vocabulary lacks, and the rows of the first."""
    named = [f"{cui} at {row.file}:{row.line}" for cui, row in report.first_unknown_cuis]
    rest = ", …" if report.unknown_cuis > len(named) else ""
    stored = "stored without a name and without ancestors"
    return f"CUIs given that the vocabulary lacks: {report.unknown_cuis}, {stored}: {', '.join(named)}{rest}"


def image_progress(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    """Shows one bar for a graph that is read image by image, with the rate."""
    task = progress.add_task(what, total=total)

    def show(images: int) -> None:
        rate = images / max(progress.tasks[task].elapsed or 0, 1e-9)
        progress.update(task, description=f"{what} · {images} images · {rate:.0f}/s", completed=images)

    return show


def build_table(report: BuildReport, folder: Path) -> Table:
    """A table of what a built vocabulary holds."""
    table = Table("vocabulary", str(folder))
    table.add_row("read as", report.what)
    table.add_row("release", "unknown; --release names it" if report.release == UNKNOWN else report.release)
    for what in ("concepts", "names", "is_a"):
        table.add_row(what, str(getattr(report, what)))
    for name, edges in report.relations.items():
        table.add_row(Text(name), str(edges))
    for filtered_by, concepts in report.left_out.items():
        table.add_row(f"left out by {filtered_by}", str(concepts))
    table.add_row("is_a cut from cycles", str(len(report.cut_edges)))
    table.add_row("bad rows", str(report.bad_row_count))
    return table


def counts_table(counts: Mapping[str, GraphCounts]) -> Table:
    """A table of several graphs' counts."""
    kinds = dict.fromkeys(kind for of in counts.values() for kind in of.by_kind())
    table = Table("graph", *(Column(Text(kind)) for kind in kinds))
    for name, of in counts.items():
        table.add_row(Text(name), *(str(of.by_kind().get(kind, 0)) for kind in kinds))
    return table


def part_text(manifest: Manifest) -> str:
    """The part of the graph that a snapshot covers, such as `split=train`; empty if it covers all of it."""
    return " ".join(f"{name}={value}" for name, value in (("dataset", manifest.dataset), ("split", manifest.split)) if value)


def is_a_text(manifest: Manifest) -> str:
    """Where a snapshot's is_a come from, if not from the graph; else empty."""
    if manifest.is_a is None:
        return ""
    return " (of an own file)" if manifest.is_a.kind == "own" else f" (shuffled by seed {manifest.is_a.seed})"


def changes_text(manifest: Manifest) -> str:
    """What else a snapshot has otherwise than the graph; else empty."""
    told = [f"relations shuffled by seed {manifest.relations.seed}"] if manifest.relations else []
    told += [f"rarest concepts of each image: {manifest.rarest_concepts}"] if manifest.rarest_concepts else []
    return "".join(f", {each}" for each in told)


def append_lines(counts: AppendCounts, manifest: Manifest) -> Iterator[str]:
    """Lines on what an append added and what it left out."""
    from kg_service.snapshot.manifest import publish_command

    lacking = f", {counts.without_vector} of them without a concept the base knows" if counts.without_vector else ""
    part = f" of {part_text(manifest)}" if part_text(manifest) else ""
    yield f"{counts.appended} images appended{lacking}" if counts.appended else f"nothing new{part}; the snapshot is unchanged"
    if counts.elsewhere:
        yield f"{counts.elsewhere} images of the graph are not{part}: set it in the rows, or with the options of ingest"
    if counts.concepts_left_out:
        yield f"{counts.concepts_left_out} concepts of new images left out: no published image has them or a descendant of theirs"
    if counts.by_concepts:
        yield f"{', '.join(counts.by_concepts)}: appended images have their concepts' vectors, published ones their nodes'"
    if counts.replaced or counts.deleted:
        again = publish_command(dataset=manifest.dataset, split=manifest.split)
        yield f"{counts.replaced} replaced, {counts.deleted} deleted since; to pick them up: {again}"


def finding_line(finding: Finding) -> Text:
    """One finding of the doctor as a line."""
    mark = ("✓ ", "bold green") if finding.well else ("✗ ", "bold red")
    return Text.assemble(mark, (f"{finding.part}: ", "bold"), finding.message)
