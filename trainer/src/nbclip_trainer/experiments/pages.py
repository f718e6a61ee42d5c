"""The page of an experiment, in a reviewer's order: answers, figures, plot, controls, mechanism, choices, limits, how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nbclip_trainer.experiments.account import Account
from nbclip_trainer.experiments.background import choice_section, limits_section, mechanism_section, run_section
from nbclip_trainer.experiments.document import Block, Document, Items, Plot, Rows, Section, Text
from nbclip_trainer.experiments.judgement import LEVEL, ArmRow, Claim, JudgedTable, Judgement
from nbclip_trainer.experiments.observations import CLASS_TASKS, MEAN, Column
from nbclip_trainer.experiments.plot import claims_svg
from nbclip_trainer.experiments.verdicts import STATED
from nbclip_trainer.experiments.wording import (
    NONE,
    answer,
    arms_of,
    cell,
    column_title,
    control_demand,
    control_outcome,
    difference,
    figure,
    p_value,
    settings_of,
    signed,
    smallest_visible,
    subset_title,
    verdict,
)
from nbclip_trainer.runs.results import CUI_TASK, LINKED_TASK

PAGE = "page"


@dataclass(frozen=True, slots=True)
class Looks:
    """What is there to be looked at: `standings` before the figures, `sections` before the limits."""

    standings: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()


_HEADLINE_CUIS = ("cui_coverage@10", "cui_overlap@10", "cui_overlap_rare@10")
_PERCENT = f"{LEVEL:.0%}".replace("%", " %")


def page_of(judgement: Judgement, account: Account, looks: Looks | None = None) -> Document:
    """The page of a judgement; `looks` are what only the HTML page has."""
    looks = looks or Looks()
    sections = [
        Section("Answers", tuple(_answers(judgement))),
        Section("Figures", (*looks.standings, *_figures(judgement, account))),
        Section("Differences", tuple(_differences(judgement))),
        Section("Controls", tuple(_controls(judgement))),
        mechanism_section(judgement, account),
        choice_section(judgement.grid, account),
        Section("Parts of the pictures", tuple(_parts(judgement))),
        Section("Every column", tuple(_columns(judgement))),
        *looks.sections,
        limits_section(judgement, account),
        run_section(judgement, account),
    ]
    title = judgement.grid.description or "An experiment"
    return Document("NB-CLIP · experiment", title, tuple(_lead(judgement)), tuple(sections))


def _lead(judgement: Judgement) -> Iterator[Block]:
    grid = judgement.grid
    if judgement.primary is not None:
        table, claim = judgement.primary
        first, second = (grid.arms[name].title for name in (claim.comparison.first, claim.comparison.second))
        yield Text(
            f"**Question**, named before the run: is {first} above {second} in {grid.endpoint.metric}, the mean of modality, "
            "organ and both, at settings chosen for each on the validation split? Differences from "
            f"{grid.endpoint.smallest_effect:g} points matter."
        )
        yield Text(f"**Answer.** {answer(grid, claim, void=_void_sets(judgement, table))}")
    for table in judgement.tables:
        if void := _void_sets(judgement, table):
            where = f" on {' and '.join(void)}" if len(judgement.grid.sets) > 1 else ""
            yield Text(f"**Table “{table.title}” is void{where}.** {_reason(judgement, table)}", "alarm")


def _void_sets(judgement: Judgement, table: JudgedTable) -> tuple[str, ...]:
    return tuple(pictures for pictures in judgement.grid.sets if table.is_void_on(pictures))


def _reason(judgement: Judgement, table: JudgedTable) -> str:
    if not table.controls:
        return "It has no controls."
    failed = [
        f"{judgement.grid.arms[one.arm].title} must be {control_demand(judgement.grid, one)} and is "
        f"{difference(one.judged.estimate)} on {one.pictures}"
        for one in table.failed
    ]
    return f"{len(failed)} of {len(table.controls)} controls did not come out as they must: {'; '.join(failed[:3])}" + (
        f"; and {len(failed) - 3} more below." if len(failed) > 3 else "."
    )


def _answers(judgement: Judgement) -> Iterator[Block]:
    said: set[str] = set()
    for table in judgement.tables:
        answers = [answer(judgement.grid, claim, void=_void_sets(judgement, table)) for claim in table.claims]
        yield Text(f"**Table: {table.title}**")
        yield Items(tuple(one for one in answers if one not in said))
        said.update(answers)
    yield Text(
        f"Reproduces: the {_PERCENT} interval excludes 0 on the paper's side. Refuted: it excludes half the paper's effect, or "
        f"lies on the other side of 0. Underpowered: neither. Where the paper's difference is under {STATED:g} points, the "
        "claim is that there is none, and it must lie within the smallest effect of interest. All but the primary claim are "
        "corrected for their number (Holm), so that an interval that excludes 0 by a hair may still be underpowered.",
        "note",
    )


def _figures(judgement: Judgement, account: Account) -> Iterator[Block]:
    columns = headline_columns(judgement)
    several = len(judgement.grid.sets) > 1
    arms = {row.arm: row for table in judgement.tables for row in table.rows}
    known = {place for row in arms.values() for place in row.figures}
    where = [(pictures, column) for pictures in judgement.grid.sets for column in columns if (pictures, column) in known]
    titles = [f"{column_title(column)}{', ' + pictures if several else ''}" for pictures, column in where]
    rows = [
        (
            row.title,
            *(figure(row.figures.get(place)) for place in where),
            _scale(row, account),
            _settings(arm.starts_from or name, account),
        )
        for name, arm in judgement.grid.arms.items()
        if (row := arms.get(name))
    ]
    yield Rows(("per cent", *titles, "logit scale", "chosen settings"), tuple(rows))
    yield Text(
        f"Image→image retrieval in per cent with {_PERCENT} intervals, macro over classes; Mean is that of the three class "
        "tasks. The query's own case is out of the gallery. CUI coverage rises with K by construction and favours varied "
        "neighbours; overlap does not, so the two are read together. The logit scale is that of the scored models, mean over "
        "runs.",
        "note",
    )
    if any(column[0] == LINKED_TASK for _, column in where):
        yield Text(
            "**Linked CUIs are not gold**, and judge in a circle: the linker that the targets come from finds them in the "
            "captions of all pictures. A gain in them says that pictures are ranked more as their captions' concepts are, which "
            "is what soft targets train toward, and no more. Rare concepts are those of at most 1 % of the pictures.",
            "note",
        )


def headline_columns(judgement: Judgement) -> list[Column]:
    """The endpoint and its tasks, and what is known of concepts."""
    metric = judgement.grid.endpoint.metric
    wanted = [(MEAN, metric), *((task, metric) for task in CLASS_TASKS)]
    wanted += [(task, name) for task in (CUI_TASK, LINKED_TASK) for name in _HEADLINE_CUIS]
    return [column for column in wanted if column in judgement.columns]


def _scale(row: ArmRow, account: Account) -> str:
    return f"{account.scales[row.arm]:.1f}" if row.arm in account.scales else NONE


def _settings(arm: str, account: Account) -> str:
    return settings_of(account.chosen(arm)) or NONE


def _differences(judgement: Judgement) -> Iterator[Block]:
    metric = judgement.grid.endpoint.metric
    yield Plot(
        f"{PAGE}.png",
        claims_svg(judgement),
        f"Differences in {metric} with {_PERCENT} intervals (dot and line; green reproduces, red refutes, grey underpowered, "
        "hollow void) and the paper's (blue cross). The band is the smallest effect of interest.",
    )
    rows = [
        (
            claim.comparison.claim,
            arms_of(judgement.grid, claim.comparison),
            pictures,
            difference(judged.estimate),
            signed(judged.paper),
            smallest_visible(judged.estimate),
            f"{p_value(judged.p)}{'' if judged.adjusted else ' (alone)'}",
            verdict(judged, void=table.is_void_on(pictures)),
        )
        for table in judgement.tables
        for claim in table.claims
        for pictures, judged in claim.endpoint.items()
    ]
    header = ("claim", "difference", "pictures", f"{metric}, points", "paper", "smallest visible", "p", "verdict")
    yield Rows(header, tuple(dict.fromkeys(rows)), words=2)
    yield Text(
        "Smallest visible is the half-width of the interval: smaller differences can't be told from 0 by these data. p is of "
        "what would reproduce the claim, adjusted (Holm) over all claims and sets of pictures of a table, but for the primary "
        "one.",
        "note",
    )


def _controls(judgement: Judgement) -> Iterator[Block]:
    rows = [
        (
            judgement.grid.arms[one.arm].title,
            control_demand(judgement.grid, one),
            one.pictures,
            difference(one.judged.estimate, 2 * LEVEL - 1 if one.control.must == "equal" else LEVEL),
            control_outcome(one),
        )
        for table in judgement.tables
        for one in table.controls
    ]
    if not rows:
        yield Text("The grid has none.", "alarm")
        return
    yield Rows(("control", "must be", "pictures", judgement.grid.endpoint.metric, "is"), tuple(dict.fromkeys(rows)), words=2)
    yield Text(
        f"Above and below: the {_PERCENT} interval excludes 0. Equal: the 90 % interval lies within "
        f"±{judgement.grid.endpoint.smallest_effect:g} points (two one-sided tests), which is more than a difference that is "
        "not significant. A table of which one control is otherwise or not shown is void on those pictures; since all "
        "must pass, none is corrected for their number.",
        "note",
    )


def _parts(judgement: Judgement) -> Iterator[Block]:
    claims = _once(judgement)
    parts = list(dict.fromkeys(place for _, claim in claims for place in claim.subsets))
    if not parts:
        yield Text("The pictures have one caption source and one source, or too few cases of others.")
        return
    rows = [
        (name, *(difference(claim.subsets[part]) if part in claim.subsets else NONE for part in parts)) for name, claim in claims
    ]
    several = len(judgement.grid.sets) > 1
    titles = [f"{subset_title(subset)}{', ' + pictures if several else ''}" for pictures, subset in parts]
    yield Rows((f"{judgement.grid.endpoint.metric}, points", *titles), tuple(rows))
    yield Text(
        "Queries of one kind of caption, or of one source, in the same gallery. The intervals are not corrected for their "
        "number: they say where a difference comes from, and decide nothing.",
        "note",
    )


def _columns(judgement: Judgement) -> Iterator[Block]:
    claims = _once(judgement)
    for pictures in judgement.grid.sets:
        columns = [column for column in judgement.columns if any((pictures, column) in claim.cells for _, claim in claims)]
        rows = [
            (name, *(cell(claim.cells[pictures, column]) if (pictures, column) in claim.cells else NONE for column in columns))
            for name, claim in claims
        ]
        yield Rows((f"{pictures}, points", *map(column_title, columns)), tuple(rows))
    yield Text(
        "Ours with its interval, then the paper's: ✓ reproduces, ✗ refutes, · underpowered, Holm-adjusted over all cells of a "
        "table.",
        "note",
    )


def _once(judgement: Judgement) -> list[tuple[str, Claim]]:
    """Claims by the names of their arms; one that two tables have is that of the first."""
    found: dict[str, Claim] = {}
    for table in judgement.tables:
        for claim in table.claims:
            found.setdefault(arms_of(judgement.grid, claim.comparison), claim)
    return list(found.items())
