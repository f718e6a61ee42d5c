"""What lies in an experiment's folder, read for its page, and the page written there."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from nbclip.errors import BrokenArtefact, InvalidInput

from nbclip_trainer.experiments.account import INSPECTION, Account, Tried
from nbclip_trainer.experiments.choosing import ChoiceRecord, read_choice
from nbclip_trainer.experiments.document import Document, Text, html, markdown
from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.judgement import Judgement, judge
from nbclip_trainer.experiments.layout import Layout, read_layout, scored_part
from nbclip_trainer.experiments.looks import looks_of
from nbclip_trainer.experiments.observations import Evidence, Source, observe
from nbclip_trainer.experiments.pages import PAGE, page_of
from nbclip_trainer.experiments.plot import save_claims
from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.runs.folder import read_facts
from nbclip_trainer.runs.results import read_scored


def write_page(layout: Layout, command: str) -> tuple[Judgement, str]:
    """Judges what lies in an experiment's folder and writes `page.md`, `page.html` and `page.png` there.

    Args:
        layout: the experiment, with all its runs scored.
        command: what makes it again, for the page.

    Returns:
        What was found, and the path of the HTML page.

    Raises:
        NBClipError: runs are missing or damaged, or were scored differently.
    """
    judgement, page = _page(layout, command)
    with replacing(layout.folder / f"{PAGE}.png") as path:
        save_claims(judgement, path)
    for suffix, text in (("md", markdown(page)), ("html", html(page))):
        with replacing(layout.folder / f"{PAGE}.{suffix}") as path:
            path.write_text(text, encoding="utf-8")
    return judgement, str(layout.folder / f"{PAGE}.html")


def write_report(folder: Path, out: Path, *, title: str | None = None) -> Path:
    """The HTML page of an experiment that lies in a folder, as far as it is, in a file of its own.

    Args:
        folder: of the experiment.
        out: the HTML file.
        title: of the page; default: the grid's description.

    Raises:
        NotFound: no seed is scored in every arm yet.
        InvalidInput: `out` can't be written.
        NBClipError: runs are damaged, or were scored differently.
    """
    whole = read_layout(folder)
    layout = scored_part(whole)
    _, page = _page(layout, "")
    page = replace(page, title=title or page.title, lead=(*_unfinished(whole.grid, layout.grid), *page.lead))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as path:
            path.write_text(html(page), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{out}: can't be written: {error.strerror or error}", hint="choose another --out") from error
    return out


def _page(layout: Layout, command: str) -> tuple[Judgement, Document]:
    judgement = judge(layout.grid, Evidence(observe(sources(layout))))
    return judgement, page_of(judgement, read_account(layout, command), looks_of(layout, judgement))


def _unfinished(whole: Grid, part: Grid) -> list[Text]:
    """What of the grid is not on the page."""
    lacking = [
        f"{len(there)} of {len(asked)} {name}"
        for name, asked, there in (("seeds", whole.seeds, part.seeds), ("KG seeds", whole.kg_seeds, part.kg_seeds))
        if len(there) < len(asked)
    ]
    said = "**Not finished.** This page is of the runs that are scored in every arm"
    return [Text(f"{said}: {' and '.join(lacking)}.", "alarm")] if lacking else []


def sources(layout: Layout) -> list[Source]:
    """Where each reported run's figures lie, on each set of pictures; arms that only read come last."""
    grid = layout.grid
    found = [
        Source(run.arm, run.seed, run.kg_seed, pictures, layout.evaluation_dir(run, pictures))
        for run in layout.reported()
        for pictures in grid.sets
    ]
    read = [
        Source(name, run.seed, run.kg_seed, pictures, layout.evaluation_dir(run, pictures), arm.scored)
        for name, arm in grid.arms.items()
        if not arm.is_trained
        for run in layout.reported()
        if run.arm == arm.reads
        for pictures in grid.sets
    ]
    return [*found, *read]


def read_account(layout: Layout, command: str) -> Account:
    """What an experiment's folder says of itself.

    Raises:
        NBClipError: a run is missing or damaged.
    """
    reported, tried = layout.reported(), layout.tried()
    facts = {run: read_facts(layout.run_dir(run)) for run in reported}
    marks = [path for run in (*reported, *tried) if (path := layout.run_dir(run) / "trained.json").is_file()]
    snapshots: dict[str, list[str]] = {}
    for run, found in facts.items():
        if snapshot := found.get("targets", {}).get("snapshot"):
            snapshots.setdefault(run.arm, []).append(snapshot)
    return Account(
        command=command,
        run_on=max((datetime.fromtimestamp(path.stat().st_mtime, UTC).date() for path in marks), default=None),
        machine=_machine(),
        facts={name: facts[reported[0]].get(name) for name in ("data", "versions", "git", "steps")},
        snapshots={arm: tuple(dict.fromkeys(found)) for arm, found in snapshots.items()},
        scales=_scales(layout),
        seconds=sum(float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) for path in marks),
        runs=(len(reported), len(tried)),
        **_choice(read_choice(layout.folder)),
        inspection=_inspection(layout.folder / INSPECTION),
    )


def _choice(record: ChoiceRecord | None) -> dict[str, Any]:
    if record is None:
        return {}
    tried = tuple(
        Tried(name, one.settings, one.values, number == arm.chosen)
        for name, arm in record.arms.items()
        for number, one in enumerate(arm.tried)
    )
    return {"tried": tried, "chosen_by": (record.by, record.seeds)}


def _scales(layout: Layout) -> dict[str, float]:
    pictures = next(iter(layout.grid.sets))
    found: dict[str, list[float]] = {}
    for run in layout.reported():
        scale = read_scored(layout.evaluation_dir(run, pictures)).evaluation.logit_scale
        if scale is not None:
            found.setdefault(run.arm, []).append(scale)
    return {arm: fmean(values) for arm, values in found.items()}


def _inspection(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise BrokenArtefact(f"{path}: not JSON", hint="nbclip targets inspect --json writes it anew") from error


def _machine() -> str:
    """Such as `2 cores of AMD EPYC 7B13`."""
    cpus = Path("/proc/cpuinfo")
    lines: Sequence[str] = cpus.read_text(encoding="utf-8").splitlines() if cpus.is_file() else ()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores of {model}"
