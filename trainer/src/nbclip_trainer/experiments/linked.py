"""Concepts of the captions of the pictures that are reported, found once by a service's linker and kept in `linked.json`.

All runs are scored by the same labels, also when the service is gone or its linker is another one. They are not gold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nbclip.errors import BrokenArtefact, Conflict, InvalidInput

from nbclip_trainer.data.opening import open_dataset
from nbclip_trainer.evaluation.linking import LinkedCuis
from nbclip_trainer.experiments.layout import Layout, data_of
from nbclip_trainer.runs.durable import replacing

_NAME = "linked.json"
Link = Callable[[Sequence[str]], LinkedCuis]
"""Captions to their concepts."""


def link_pictures(layout: Layout, link: Link, say: Callable[[str], None]) -> None:
    """Asks for the concepts of the captions of all reported pictures that the folder has not yet, and for their names.

    Raises:
        Conflict: the folder's labels are those of another linker.
        NBClipError: as `link`.
    """
    path = layout.folder / _NAME
    kept = _read(path) if path.is_file() else {"cuis": {}, "names": {}}
    # Without names, which earlier versions did not keep, all are asked for again; their labels stay.
    wanted = [caption for caption in _captions(layout) if caption not in kept["cuis"] or not kept["names"]]
    if not wanted:
        return
    say(f"linking {len(wanted)} captions of the reported pictures")
    found = link(wanted)
    if found.linker != kept.setdefault("linker", found.linker):
        raise Conflict(
            f"{path}: its labels are of the linker {kept['linker']}, and the service has {found.linker}",
            hint="score all runs by one linker: choose another --out",
        )
    new = {caption: sorted(cuis) for caption, cuis in zip(wanted, found.cuis, strict=True)}
    with replacing(path) as unfinished:
        now = {"cuis": {**new, **kept["cuis"]}, "names": {**kept["names"], **found.names}}
        text = json.dumps({"linker": found.linker, "source": found.source, **now}, indent=1)
        unfinished.write_text(text, encoding="utf-8")


def linked_by(folder: Path) -> Link:
    """What `link_pictures` wrote into an experiment's folder, for an evaluation.

    Raises:
        BrokenArtefact: it is damaged.
        InvalidInput: when called with a caption that it lacks.
    """
    path = folder / _NAME
    kept = _read(path)

    def link(captions: Sequence[str]) -> LinkedCuis:
        if missing := [caption for caption in captions if caption not in kept["cuis"]]:
            raise InvalidInput(f"{path}: no labels of {missing[0]!r:.80}", hint="the same command asks the service for them")
        cuis = tuple(frozenset(kept["cuis"][caption]) for caption in captions)
        names = {cui: kept["names"][cui] for cui in sorted(frozenset().union(*cuis)) if cui in kept["names"]}
        return LinkedCuis(kept["linker"], kept["source"], cuis, names)

    return link


def linked_names(folder: Path) -> dict[str, str]:
    """Names of the concepts in an experiment's folder; none where nothing was linked. Raises BrokenArtefact."""
    path = folder / _NAME
    return dict(_read(path)["names"]) if path.is_file() else {}


def _captions(layout: Layout) -> list[str]:
    """Of the splits that are reported, each once."""
    configs = [layout.config(run, layout.grid.first_candidates, {}) for run in layout.reported()]
    splits = {pictures.split for pictures in layout.grid.sets.values()}
    frames = [open_dataset(data).frame_of(splits) for data in data_of(configs)]
    return list(dict.fromkeys(caption for frame in frames for caption in frame["caption"].to_list()))


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        # Folders of earlier versions have no names.
        return {"names": kept.get("names", {}), **{name: kept[name] for name in ("linker", "source", "cuis")}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenArtefact(f"{path}: damaged: {error}", hint="remove it, and the captions are linked again") from error
