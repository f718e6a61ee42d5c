"""The report: one HTML file with everything inside, from the folders of evaluated runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from nbclip.errors import InvalidInput

from nbclip_trainer.report.aspects import LISTED, aspects, title_of, warnings
from nbclip_trainer.report.compared import Comparison, compare, differing_settings
from nbclip_trainer.report.curves import draw_curves
from nbclip_trainer.report.figure_tables import (
    TASK_NAMES,
    class_tables,
    cui_tables,
    excludes_zero,
    middle_k,
    pair_tables,
    subset_tables,
)
from nbclip_trainer.report.gallery import Exhibits, Retriever, class_gallery, credits_of, cui_gallery
from nbclip_trainer.report.notes import alarms, honest_notes
from nbclip_trainer.report.standings import calibrations, standings, tallies
from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.runs.results import CUI_TASK, LINKED_TASK

_LARGEST_NUMBER_OF_RUNS = 6
_LARGEST_IN_FULL = 10
"""From here on a figure is no share and has one digit behind the point."""


def write_report(
    run_dirs: Sequence[Path],
    out: Path,
    *,
    baseline: Path | None = None,
    title: str | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Writes a report that needs no other file, no network and no script.

    Args:
        run_dirs: folders of evaluated runs, or of evaluations (`nbclip evaluate --out`), at most six.
        out: the HTML file.
        baseline: which of them the others are measured against; default: the first that trained without knowledge.
        title: of the page; default: what is compared with what, in words.
        seed: of the choice of the gallery's queries.
        say: is told the figures of the first chart.

    Returns:
        `out`.

    Raises:
        InvalidInput: runs that can't be compared, too many, a picture that can't be read, or `out` can't be written.
        NotFound: a run that was not evaluated, or an evaluation whose run is gone.
    """
    if len(run_dirs) > _LARGEST_NUMBER_OF_RUNS:
        raise InvalidInput(f"{len(run_dirs)} runs are too many for one report", hint=f"choose up to {_LARGEST_NUMBER_OF_RUNS}")
    comparison = compare(run_dirs, baseline)
    html = _rendered(comparison, title, seed)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as path:
            path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{out}: can't be written: {error.strerror or error}", hint="choose another --out") from error
    figures = ", ".join(f"{one.name} {_figure(one.value)}" for one in standings(comparison))
    if figures:
        say(f"image→image P@{middle_k(comparison)}: {figures}")
    return out


def _rendered(comparison: Comparison, title: str | None, seed: int) -> str:
    environment = Environment(
        loader=PackageLoader("nbclip_trainer.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(figure=_figure, signed=_signed, setting=_setting)
    environment.tests["decisive"] = excludes_zero
    return environment.get_template("report.html.j2").render(**_context(comparison, seed), title=title or title_of(comparison))


def _context(comparison: Comparison, seed: int) -> dict[str, Any]:
    exhibits = _exhibits(comparison, seed)
    pictures, concepts = class_gallery(exhibits), cui_gallery(exhibits)
    return {
        "comparison": comparison,
        "evaluation": comparison.baseline.scored.evaluation,
        "aspects": aspects(comparison.runs),
        "listed": LISTED,
        "warnings": warnings(comparison),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "task_names": TASK_NAMES,
        "standings": standings(comparison),
        "middle_k": middle_k(comparison),
        "tallies": tallies(comparison),
        "settings": differing_settings(comparison.runs),
        "curves": [(curve, Markup(curve.svg)) for curve in draw_curves(comparison.runs)],  # noqa: S704  # nosec B704
        "alarms": alarms(comparison),
        "pair_tables": pair_tables(comparison),
        "class_tables": class_tables(comparison),
        "cui_tables": cui_tables(comparison, CUI_TASK),
        "linked_tables": cui_tables(comparison, LINKED_TASK),
        "subset_tables": subset_tables(comparison),
        "calibrations": calibrations(comparison.runs),
        "galleries": [("By modality and organ", pictures), ("By shared concepts", concepts)],
        "seed": seed,
        "labels": exhibits.labels,
        "credits": credits_of([*pictures, *concepts]),
        "notes": honest_notes(comparison),
    }


def _exhibits(comparison: Comparison, seed: int) -> Exhibits:
    retrievers = [Retriever(run.name, run.place, run.scored.features["image"]) for run in comparison.runs]
    return Exhibits(comparison.baseline.scored, retrievers, comparison.baseline.config.data.max_pixels, seed)


def _figure(value: float | None, digits: int = 3) -> str:
    """`.411`, as tables of shares are set, and `52.5` of what is no share; `–` for no value."""
    if value is None:
        return "–"
    shown = f"{value:.{digits if abs(value) < _LARGEST_IN_FULL else 1}f}"
    return shown.replace("0.", ".", 1) if abs(value) < 1 else shown


def _signed(value: float | None) -> str:
    """`+.032` or `−.012`, with a true minus."""
    if value is None:
        return "–"
    sign = "−" if round(value, 3) < 0 else "+" if round(value, 3) > 0 else ""
    return sign + _figure(abs(value))


def _setting(value: Any) -> str:
    """A setting as it stands in a config file."""
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
