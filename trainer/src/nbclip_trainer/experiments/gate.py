"""The gate before any training: what the targets of the arms are like, and which are the same as another's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.data.opening import open_dataset
from nbclip_trainer.experiments.account import INSPECTION
from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.layout import Layout, Snapshots
from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.training.inspected import Inspection
from nbclip_trainer.training.inspection import Named, inspect_targets


def inspect_arms(layout: Layout, snapshots: Snapshots, say: Callable[[str], None]) -> None:
    """Writes purity and change of the targets of all arms, in the batches of one epoch, into the folder.

    Arms of equal targets are one source, named after the first; KG seeds are its seeds. Nothing is asked again that the folder
    has, and nothing where the training images have no labels.

    Args:
        layout: the experiment.
        snapshots: ids of its snapshots.
        say: told of each claim whose arms' targets differ no more than those of two KG seeds.

    Raises:
        NBClipError: wrong data, no service, or a snapshot that it does not have.
    """
    sources = _sources(layout, snapshots)
    if not sources:
        return
    path = layout.folder / INSPECTION
    if not path.is_file() or _written(json.loads(path.read_text(encoding="utf-8"))) != _asked(sources):
        data = sources[0][1].data
        if not {*CLASS_TASKS} & {*open_dataset(data).filled(data.train_split or "")}:
            return
        say(f"inspecting the targets of {len(_asked(sources))} arms")
        with replacing(path) as new:
            new.write_text(inspect_targets(sources).model_dump_json(indent=1) + "\n", encoding="utf-8")
    for line in same_targets(layout.grid, Inspection.model_validate_json(path.read_text(encoding="utf-8"))):
        say(line)


def _sources(layout: Layout, snapshots: Snapshots) -> list[Named]:
    """The distinct targets of the arms, all with the first such arm's settings but for those of `targets`."""
    found: dict[tuple[str, str | None], Named] = {}
    base: TrainConfig | None = None
    title_of: dict[str, str] = {}
    first = layout.grid.first_candidates
    for run in layout.reported():
        config = layout.config(run, first, snapshots)
        if config.targets.knowledge == "identity":
            continue
        base = base or config
        arm = layout.grid.arms[run.arm]
        kind = config.targets if arm.snapshot is None else config.targets.model_copy(update={"snapshot": arm.snapshot})
        title = title_of.setdefault(kind.model_dump_json(), arm.title)
        found.setdefault((title, config.targets.snapshot), (title, base.model_copy(update={"targets": config.targets})))
    titles = list(title_of.values())
    return sorted(found.values(), key=lambda named: titles.index(named[0]))


def _asked(sources: list[Named]) -> dict[str, list[str | None]]:
    names = dict.fromkeys(name for name, _ in sources)
    return {name: [config.targets.snapshot for other, config in sources if other == name] for name in names}


def _written(inspection: Mapping[str, Any]) -> dict[str, list[str | None]]:
    return {one["name"]: one["snapshots"] for one in inspection["sources"]}


def same_targets(grid: Grid, found: Inspection) -> Iterator[str]:
    """A line for each claim in which no more mass moves than between two KG seeds of either of its arms, or none at all."""
    moved_by = {frozenset((one.first, one.second)): one.change.value or 0.0 for one in found.changes}
    for claim in grid.comparisons:
        titles = grid.arms[claim.first].title, grid.arms[claim.second].title
        moved = moved_by.get(frozenset(titles))
        seeds = min(moved_by.get(frozenset((title,)), 0.0) for title in titles)
        if titles[0] != titles[1] and moved is not None and moved <= seeds:
            yield (
                f"targets: {moved:.2f} of the mass moves from {titles[1]} to {titles[0]}, {seeds:.2f} from KG seed to KG seed: "
                f"“{claim.claim}” has little to learn from"
            )
