"""The later half of the page: mechanism, what was tried, limits, and how it was run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbclip_trainer.experiments.account import Account
from nbclip_trainer.experiments.document import Block, Code, Items, Rows, Section, Text
from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.judgement import Judgement
from nbclip_trainer.experiments.wording import NONE, settings_of

_JOINTLY = (
    "Arms whose targets are nearly the same have nearly the same best settings, and a choice by a few seeds of one split gives "
    "them different ones by chance. That difference would be in every run that is reported, so that no interval would show it. "
    "A joint choice takes it out, and favours no arm of its line. Where the best settings do differ, each arm loses what stands "
    "between its rows “best alone” and “chosen”; so only arms of one loss and one form of targets are chosen jointly."
)


def mechanism_section(judgement: Judgement, account: Account) -> Section:
    """What the targets are like: purity by the classes that are asked for, and how much of their mass an arm changes."""
    return Section("Mechanism: what the targets are like", tuple(_mechanism(judgement, account)))


def _mechanism(judgement: Judgement, account: Account) -> Iterator[Block]:
    if account.inspection is None:
        yield Text("Not measured: no arm has soft targets, or the training images have no labels.")
        return
    sources: list[dict[str, Any]] = account.inspection["sources"]
    columns = [part["column"] for part in sources[0]["purity"]]
    yield Rows(
        ("targets of", *(f"purity by {column}" for column in columns), "mass of neighbours", "effective neighbours"),
        tuple(
            (
                source["name"],
                *(_mean(part["purity"]) for part in source["purity"]),
                _number(source["neighbour_mass"]),
                _number(source["effective_neighbours"]),
            )
            for source in sources
        ),
    )
    compared = _compared(judgement.grid)
    changes = [
        one
        for one in account.inspection.get("changes", ())
        if one["first"] == one["second"] or frozenset((one["first"], one["second"])) in compared
    ]
    if changes:
        pairs = tuple(
            (
                "seeds of " + one["first"] if one["first"] == one["second"] else f"{one['first']} → {one['second']}",
                _mean(one["change"]),
            )
            for one in changes
        )
        yield Rows(("from → to", "share of mass that moves"), pairs)
    yield Text(
        "Purity is the share of the neighbours' mass that lies on images of the same class, on training labels, before any "
        "training. What moves from one arm's targets to another's must be more than what moves between seeds of one, or there "
        "is nothing to learn from.",
        "note",
    )


def _compared(grid: Grid) -> set[frozenset[str]]:
    """Titles of two arms that a claim or a control compares."""
    controls = {(name, arm.control.of) for name, arm in grid.arms.items() if arm.control and arm.control.of in grid.arms}
    claims = {(claim.first, claim.second) for claim in grid.comparisons}
    return {frozenset(grid.arms[name].title for name in pair) for pair in claims | controls}


def choice_section(grid: Grid, account: Account) -> Section:
    """What was tried for every arm, on the validation split."""
    return Section("What was tried for each arm", tuple(_choice(grid, account)))


def _choice(grid: Grid, account: Account) -> Iterator[Block]:
    if not account.tried:
        yield Text("Nothing was chosen: all arms have the settings of the grid, which may suit one better than another.")
        return
    by, seeds = account.chosen_by
    rows = tuple(
        (
            grid.arms[one.arm].title,
            settings_of(one.settings),
            "**chosen**" if one.is_chosen else "best alone" if one == account.best_alone(one.arm) else "",
            f"{one.mean:.3f}",
            ", ".join(f"{value:.3f}" for value in one.values),
        )
        for one in account.tried
    )
    yield Rows(("arm", "settings", "", f"{by}, mean", "each seed"), rows, words=2)
    yield Text(
        f"By {by} on the validation split, with seeds {', '.join(map(str, seeds))}, none of which is reported. Every arm had "
        "the same number of candidates.",
        "note",
    )
    if ends := account.ends():
        yield Text(
            "**Chosen at the end of what was tried**, so that these arms might do better beyond it, or at least otherwise:"
        )
        yield Items(tuple(f"`{value}`: {', '.join(grid.arms[arm].title for arm in arms)}" for value, arms in ends.items()))
    if groups := grid.choose.jointly if grid.choose else ():
        yield Text("**Chosen jointly**, one candidate for all arms of a line, by the mean over them:")
        yield Items(tuple(", ".join(grid.arms[arm].title for arm in group) for group in groups))
        yield Text(_JOINTLY, "note")


def limits_section(judgement: Judgement, account: Account) -> Section:
    """What the page can't say."""
    return Section("Limits", (Items(tuple(_limits(judgement, account))),))


def _limits(judgement: Judgement, account: Account) -> Iterator[str]:
    grid = judgement.grid
    yield (
        "**Targets and questions are related.** Captions that were made from labels, or name the class that P@K asks for, "
        "hand the labels to the targets; a gain over CLIP is then in part near-supervision. The arm of true labels shows how "
        "much that could be at most, “Parts of the pictures” shows real captions apart. Linked CUIs come from the linker that "
        "makes the targets."
    )
    yield (
        "**Other data and other models than the paper's.** Levels can't be compared; a difference can, as far as its order "
        "and size survive the change."
    )
    if len(grid.sets) == 1:
        yield f"**One set of pictures** ({next(iter(grid.sets))}): what holds here need not hold on other sources."
    fixed = [arm.title for name, arm in grid.trained.items() if arm.snapshot and grid.kg_seeds_of(name) == (None,)]
    if fixed:
        yield (
            f"**One fit of the representation** stands behind {', '.join(fixed)}: its recipe has no KG seed, so that the "
            "intervals lack it."
        )
    if len(grid.seeds) < 3:
        yield f"**Seeds: {len(grid.seeds)}**. With so few, little can be told; with one there are no intervals."
    yield (
        "**Intervals** are over seeds, KG seeds and cases, Student's t with Satterthwaite's degrees of freedom; 95 % "
        "intervals covered 90 to 98 % in simulation with 3 to 5 seeds. They are not over data sets or architectures."
    )
    yield "**CUI@K** has no published formula; `cui_coverage@K` is set beside the paper's, since both rise with K."
    counts = ", ".join(f"{count} cases in {name}" for name, count in judgement.cases.items())
    yield f"**Size**: {counts}; classes of under {grid.minimum_class_size} pictures are distractors and never asked for."


def run_section(judgement: Judgement, account: Account) -> Section:
    """How to make it again."""
    blocks: list[Block] = [Code(account.command)] if account.command else []
    return Section("How it was run", (*blocks, Items(tuple(_run(judgement.grid, account)))))


def _run(grid: Grid, account: Account) -> Iterator[str]:
    reported, tried = account.runs
    day = f"{account.run_on:%Y-%m-%d}, " if account.run_on else ""
    minutes = f"; trainings took {account.seconds / 60:.0f} minutes in all" if account.seconds else ""
    yield f"{day}{account.machine or 'machine unknown'}: {reported} runs reported, {tried} made to choose{minutes}"
    yield (
        f"preset {grid.preset}, {', '.join(grid.set) or 'no settings over it'}; seeds {', '.join(map(str, grid.seeds))}; KG "
        f"seeds {', '.join(map(str, grid.kg_seeds))}"
    )
    yield f"commit {account.facts.get('git') or 'unknown'}"
    data = account.facts.get("data") or {}
    pairs = ", ".join(f"{counts['pairs']} {split}" for split, counts in data.items() if counts)
    if pairs:
        reported_sets = ", ".join(f"{name} (split {one.split})" for name, one in grid.sets.items())
        yield f"pairs: {pairs}; pictures that are reported: {reported_sets}"
    for arm, ids in account.snapshots.items():
        yield f"snapshots of {grid.arms[arm].title}: {', '.join(f'`{one}`' for one in ids)}"
    versions = ", ".join(f"{name} {version}" for name, version in (account.facts.get("versions") or {}).items())
    if versions:
        yield versions


def _mean(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return NONE
    interval = "" if found.get("low") is None else f" [{found['low']:.3f}, {found['high']:.3f}]"
    return f"{found['value']:.3f}{interval}"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"
