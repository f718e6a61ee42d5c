"""The snapshots of a grid, published by the service, their ids kept in `snapshots.json` so that a rerun takes the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbclip.errors import BrokenArtefact, InvalidInput
from nbclip.ids import is_snapshot_id

from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.layout import snapshot_name
from nbclip_trainer.experiments.snapshots import KG_SEED, LabelledIsA, Recipe
from nbclip_trainer.runs.durable import replacing

_NAME = "snapshots.json"
_FEWEST_IMAGES = 5
"""Of a concept, to say which class it is typical of."""
_FIRST_CLASS = 9_900_000
"""Classes are no concepts: they have numbers that the UMLS does not give out."""

Publish = Callable[[dict[str, Any]], str]
"""The body of `POST /v1/snapshots` to the id of the published snapshot."""
Edges = list[tuple[str, str]]


def needed_snapshots(grid: Grid) -> dict[str, tuple[Recipe, int | None]]:
    """Recipe and KG seed of each snapshot that a run of the grid needs, by name."""
    found = {}
    for name, arm in grid.trained.items():
        if arm.snapshot is None:
            continue
        chosen = grid.choose.kg_seeds if grid.choose and len(grid.candidates(name)) > 1 else ()
        seeds = grid.kg_seeds_of(name)
        for seed in seeds if seeds == (None,) else (*seeds, *chosen):
            found[snapshot_name(arm.snapshot, seed)] = grid.snapshots[arm.snapshot], seed
    return found


def publish_all(
    grid: Grid,
    folder: Path,
    publish: Publish,
    edges_of_labels: Callable[[Sequence[str]], Edges],
    say: Callable[[str], None],
) -> dict[str, str]:
    """The ids of all snapshots; those that the folder does not know yet are published.

    Args:
        grid: whose.
        folder: of the experiment.
        publish: asks the service.
        edges_of_labels: is_a of the training labels in these columns.
        say: told each snapshot before it is published.
    """
    known = read_snapshots(folder)
    for name, (recipe, kg_seed) in needed_snapshots(grid).items():
        if name in known:
            continue
        say(f"publishing the snapshot {name}")
        labelled = recipe.is_a.labels if isinstance(recipe.is_a, LabelledIsA) else ()
        known[name] = publish(request_of(recipe, kg_seed, edges_of_labels(labelled) if labelled else []))
        with replacing(folder / _NAME) as path:
            path.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return known


def read_snapshots(folder: Path) -> dict[str, str]:
    """The ids that `publish_all` wrote, by name; raises BrokenArtefact."""
    path = folder / _NAME
    if not path.is_file():
        return {}
    try:
        known = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BrokenArtefact(f"{path}: not JSON", hint="remove it, and the same snapshots are asked for again") from error
    if wrong := [name for name, snapshot in known.items() if not is_snapshot_id(str(snapshot))]:
        raise BrokenArtefact(f"{path}: {wrong[0]!r} has no snapshot id", hint="remove it, and they are asked for again")
    return known


def request_of(recipe: Recipe, kg_seed: int | None, edges: Edges) -> dict[str, Any]:
    """The body of `POST /v1/snapshots`, the KG seed in its places; what is served stays."""
    is_a = {"edges": edges} if isinstance(recipe.is_a, LabelledIsA) else recipe.is_a and recipe.is_a.model_dump()
    as_it_is = recipe.model_dump(include={"dataset", "split", "representations", "relations", "concepts"})
    body = {**as_it_is, "is_a": is_a, "current": False}
    return {name: _seeded(value, kg_seed) for name, value in body.items() if value is not None}


def label_edges(concepts: Sequence[Iterable[str]], labels: Mapping[str, Sequence[str | None]]) -> Edges:
    """is_a from each concept to the class that it is most typical of, in each column.

    The class of the greatest lift, P(class | concept) / P(class), over labelled images; only for concepts of 5 such images and
    more, of a lift above 1. Of equal lifts the first class by name. Classes are numbered C9900000 and on, which are no concepts.

    Args:
        concepts: of each training image, CUIs.
        labels: of each column, the class of each image, None where there is none.

    Returns:
        [concept, class], sorted.

    Raises:
        InvalidInput: no concept is typical of a class.
    """
    names = sorted({(column, name) for column, values in labels.items() for name in values if name is not None})
    number = {place: f"C{_FIRST_CLASS + row:07d}" for row, place in enumerate(names)}
    found = [(concept, number[column, name]) for column, values in labels.items() for concept, name in _typical(concepts, values)]
    if not found:
        raise InvalidInput(
            f"is_a.labels={list(labels)}: no concept of {_FEWEST_IMAGES} labelled training images is typical of a class",
            hint="it needs labels on the training split",
        )
    return sorted(found)


def _typical(concepts: Sequence[Iterable[str]], names: Sequence[str | None]) -> Iterator[tuple[str, str]]:
    labelled = [({*cuis}, name) for cuis, name in zip(concepts, names, strict=True) if name is not None]
    of_class = Counter(name for _, name in labelled)
    of_concept = Counter(cui for cuis, _ in labelled for cui in cuis)
    together = Counter((cui, name) for cuis, name in labelled for cui in cuis)
    best: dict[str, tuple[float, str]] = {}
    for (cui, name), count in sorted(together.items()):
        lift = count / of_concept[cui] * len(labelled) / of_class[name]
        if of_concept[cui] >= _FEWEST_IMAGES and lift > max(1.0, best.get(cui, (0.0, ""))[0]):
            best[cui] = lift, name
    return ((cui, name) for cui, (_, name) in best.items())


def _seeded(tree: Any, kg_seed: int | None) -> Any:
    """A tree with the KG seed in its places."""
    if isinstance(tree, Mapping):
        return {name: _seeded(value, kg_seed) for name, value in tree.items()}
    return kg_seed if tree == KG_SEED else tree
