"""What a comparison compares: each run's settings by aspect, where they differ, and that in a title and in sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from nbclip_trainer.models.settings import ModelSettings, TowerSettings
from nbclip_trainer.report.compared import ComparedRun, Comparison, differing_settings
from nbclip_trainer.runs.results import short_names

NONE = "–"
_KNOWLEDGE = {
    "identity": "one-hot",
    "noise": "random neighbours",
    "dk": "DK",
    "dk_ek": "DK + EK",
    "labels": "true labels",
}
_LOSSES = {"infonce": "InfoNCE", "sm": "SM", "mse": "MSE", "sigmoid_soft": "soft sigmoid", "sigmoid_fff": "threshold sigmoid"}
_CROSS_ENTROPY = {"infonce", "sm"}
"""One and the same, against the target rows."""
_SCALE = ("logit_scale", "logit_scale_trains", "logit_scale_max")
_SHOWN_ELSEWHERE = (
    *("model.", "loss.", "seed", "epochs", "batch_size", "checkpoint.", "data.files", "data.where", "data.exclude"),
    *("data.train_split", "targets.knowledge", "targets.noise", "targets.labels", "targets.representation", "targets.snapshot"),
)
_NO_EFFECT = ("targets.mode", "targets.file", "data.features", "data.cache", "data.check")
"""How things are computed and kept, not what is trained."""
_APART = 0.05
"""Learned logit scales that differ by a larger share are told of."""
LISTED = 3
"""Of the settings that have no aspect of their own, so many are named."""
_NAMED_IN_A_TITLE = 3


@dataclass(frozen=True, slots=True)
class Aspect:
    """A row of what is compared: what each run has, in the runs' order.

    Attributes:
        name: of the aspect.
        shown: in words, a run.
        decides: what makes two runs alike in it, a run; None where a run has nothing of the kind, which is no difference.
        in_title: the few words that stand in a title; empty: not there.
        is_key: whether the name is the key of a setting.
    """

    name: str
    shown: tuple[str, ...]
    decides: tuple[object, ...]
    in_title: tuple[str, ...] = ()
    is_key: bool = False

    @property
    def differs(self) -> bool:
        """Whether the runs are shown differently."""
        return len(set(self.shown)) > 1

    def parts(self, first: int, second: int) -> bool:
        """Whether two runs, by their places from 0, differ in it by more than words."""
        ours, theirs = self.decides[first], self.decides[second]
        return ours is not None and theirs is not None and ours != theirs


def aspects(runs: Sequence[ComparedRun]) -> list[Aspect]:
    """All aspects of some runs, those first that a reader asks for first."""
    found = [
        _aspect("targets", runs, _targets, _what_targets_know, lambda run: _KNOWLEDGE[run.config.targets.knowledge]),
        _aspect("loss", runs, _loss, _what_is_minimised, lambda run: _LOSSES.get(run.config.loss.name, run.config.loss.name)),
        _aspect("model", runs, lambda run: _model(run.config.model), _what_is_built, lambda run: _model(run.config.model)),
        _aspect("logit scale", runs, _scale, _how_scale_is_set, lambda run: _scale(run).partition(",")[0]),
        _aspect("training data", runs, _data, _which_pairs, _data),
        _aspect("length", runs, _length, lambda run: (run.config.epochs, run.config.batch_size), _length),
        _aspect("checkpoint", runs, _checkpoint, _which_checkpoint, lambda run: run.scored.evaluation.checkpoint),
        _aspect("seed", runs, lambda run: str(run.config.seed), lambda run: run.config.seed, lambda run: str(run.config.seed)),
        _aspect("KG snapshot", runs, lambda run: (_snapshot(run) or NONE)[:10], _snapshot),
    ]
    return [*found, *_others(runs)]


def title_of(comparison: Comparison) -> str:
    """What is compared with what, in words, such as `Targets: DK + EK (nbclip) against one-hot (clip)`."""
    runs, base = comparison.runs, comparison.runs.index(comparison.baseline)
    if not comparison.others:
        return f"{comparison.baseline.name}: {comparison.baseline.method}"
    rows = [one for one in aspects(runs) if one.in_title and any(one.parts(place, base) for place in range(len(runs)))][:2]
    words = [", ".join(one.in_title[place] for one in rows) for place in range(len(runs))]
    names = [run.name for run in runs]
    if not rows or any(word == words[base] for place, word in enumerate(words) if place != base):
        return _against(names, base)
    if len(runs) <= _NAMED_IN_A_TITLE or len(set(words)) < len(words):
        words = [f"{word} ({name})" for word, name in zip(words, names, strict=True)]
    subject = " and ".join(one.name for one in rows)
    return f"{subject[0].upper()}{subject[1:]}: {_against(words, base)}"


def warnings(comparison: Comparison) -> list[str]:
    """In what each run differs from the baseline, runs of the same differences in one sentence."""
    runs, base = comparison.runs, comparison.runs.index(comparison.baseline)
    rows = aspects(runs)
    alike: dict[tuple[str, ...], list[str]] = {}
    for place, run in enumerate(runs):
        if place != base:
            differing = [one for one in rows if one.parts(place, base)]
            keys = [one.name for one in differing if one.is_key]
            named = [one.name for one in differing if not one.is_key] + (
                keys if len(keys) <= LISTED else [f"{len(keys)} further settings"]
            )
            alike.setdefault((*named, *_learned_apart(run, comparison.baseline)), []).append(run.name)
    return [_warning(names, differing, comparison.baseline.name) for differing, names in alike.items()]


def _warning(names: Sequence[str], differing: Sequence[str], baseline: str) -> str:
    differ = f"{listed(names)} {'differs' if len(names) == 1 else 'differ'} from {baseline}"
    if not differing:
        return f"{differ} in no setting."
    if len(differing) == 1:
        return f"{differ} in one setting alone: {differing[0]}."
    return f"{differ} in {listed(differing)}: differences can't be put down to one of them."


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _against(words: Sequence[str], base: int) -> str:
    others = list(dict.fromkeys(word for place, word in enumerate(words) if place != base))
    return f"{listed(others)} against {words[base]}"


def _aspect(
    name: str,
    runs: Sequence[ComparedRun],
    shown: Callable[[ComparedRun], str],
    decides: Callable[[ComparedRun], object],
    in_title: Callable[[ComparedRun], str] | None = None,
) -> Aspect:
    words = tuple(in_title(run) for run in runs) if in_title else ()
    return Aspect(name, tuple(shown(run) for run in runs), tuple(decides(run) for run in runs), words)


def _targets(run: ComparedRun) -> str:
    targets = run.config.targets
    form = "" if targets.form == "recommended" else f", {targets.form}"
    match targets.knowledge:
        case "identity":
            return "one-hot: no knowledge"
        case "labels":
            return f"true labels: {', '.join(targets.labels)}{form}"
        case "noise":
            return f"random neighbours (noise){form}"
    return f"{_KNOWLEDGE[targets.knowledge]}, representation {targets.representation}{form}"


def _what_targets_know(run: ComparedRun) -> object:
    targets = run.config.targets
    match targets.knowledge:
        case "identity":
            return "identity"
        case "labels":
            return "labels", targets.labels
        case "noise":
            return "noise", targets.noise
    return targets.knowledge, targets.representation


def _loss(run: ComparedRun) -> str:
    loss = run.config.loss
    own = ", ".join(f"{key} {value}" for key, value in loss.model_dump(exclude={"name"}).items())
    said = "cross entropy" if loss.name in _CROSS_ENTROPY else own
    return f"{_LOSSES.get(loss.name, loss.name)}{f' ({said})' if said else ''}"


def _what_is_minimised(run: ComparedRun) -> object:
    loss = run.config.loss
    return "cross entropy" if loss.name in _CROSS_ENTROPY else loss.model_dump()


def _model(model: ModelSettings) -> str:
    name = PurePath(model.name.rpartition(":")[2]).name
    weights = [
        model.pretrained and f"from {_short(model.pretrained)}",
        *(part and _short(part) for part in (model.image_weights, model.text_weights)),
    ]
    start = ", ".join(filter(None, weights)) or ("from scratch" if ":" not in model.name else "")
    (_, image), (_, text) = model.towers()
    ours, theirs = _tower(image), _tower(text)
    trained = f"both towers {ours}" if ours and ours == theirs else ""
    apart = [f"{tower} tower {how}" for tower, how in (("image", ours), ("text", theirs)) if how]
    return "; ".join(filter(None, (f"{name}, {start}" if start else name, trained or ", ".join(apart))))


def _short(weights: str) -> str:
    """The name of a file or folder."""
    return PurePath(weights).stem or weights


def _tower(tower: TowerSettings) -> str:
    if tower.lora is not None:
        return f"with adapters (LoRA {tower.lora.rank})"
    if tower.unlocked is None:
        return ""
    return "locked" if tower.unlocked == 0 else f"locked but for {tower.unlocked} blocks"


def _what_is_built(run: ComparedRun) -> object:
    return run.config.model.model_dump(mode="json", exclude=set(_SCALE))


def _scale(run: ComparedRun) -> str:
    model, value = run.config.model, run.scored.evaluation.logit_scale
    if not model.logit_scale_trains:
        fixed = model.logit_scale if value is None else value
        return "fixed" if fixed is None else f"fixed at {fixed:.3g}"
    start = "learned" if model.logit_scale is None else f"learned from {model.logit_scale:.3g}"
    return start if value is None else f"{start}, {value:.1f} when scored"


def _how_scale_is_set(run: ComparedRun) -> object:
    return run.config.model.model_dump(include=set(_SCALE))


def _learned_apart(run: ComparedRun, base: ComparedRun) -> Iterator[str]:
    ours, theirs = (one.scored.evaluation.logit_scale for one in (run, base))
    learned = run.config.model.logit_scale_trains and base.config.model.logit_scale_trains
    if learned and ours and theirs and abs(math.log(ours / theirs)) > _APART:
        yield "the logit scale that each learned"


def _data(run: ComparedRun) -> str:
    data = run.config.data
    pairs = run.facts.get("data", {}).get("train", {}).get("pairs")
    said = [
        ", ".join(short_names([str(file) for file in data.files])) or "no files",
        f"split {data.train_split}" if data.train_split else "all splits",
        *(f"{key} {value}" for key, value in (("only", _values(data.where)), ("without", _values(data.exclude))) if value),
        f"{pairs:,} pairs" if pairs is not None else "",
    ]
    return ", ".join(filter(None, said))


def _values(chosen: dict[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{column} {' or '.join(values)}" for column, values in chosen.items())


def _which_pairs(run: ComparedRun) -> object:
    """The digest of the pairs where the run has one: files may lie elsewhere and be the same."""
    train = run.facts.get("data", {}).get("train") or {}
    data = run.config.data
    return train.get("sha256") or (data.files, data.train_split, data.where, data.exclude)


def _length(run: ComparedRun) -> str:
    steps = run.facts.get("steps")
    return f"{run.config.epochs} epochs of batches of {run.config.batch_size}{'' if steps is None else f', {steps} steps'}"


def _checkpoint(run: ComparedRun) -> str:
    evaluation = run.scored.evaluation
    return f"{evaluation.chosen}{', average of weights' if evaluation.averaged else ''}"


def _which_checkpoint(run: ComparedRun) -> object:
    evaluation = run.scored.evaluation
    return evaluation.checkpoint, evaluation.best_by, evaluation.averaged


def _snapshot(run: ComparedRun) -> str | None:
    found = run.facts.get("targets", {}).get("snapshot") if run.config.targets.from_snapshot else None
    return None if found is None else str(found)


def _others(runs: Sequence[ComparedRun]) -> Iterator[Aspect]:
    """Settings of no other aspect, by their keys; of targets only those of runs whose targets are not one-hot."""
    for key, values in differing_settings(runs):
        said = tuple(_said(run, key, value) for run, value in zip(runs, values, strict=True))
        if not key.startswith((*_SHOWN_ELSEWHERE, *_NO_EFFECT)) and len({*said} - {None}) > 1:
            yield Aspect(key, tuple(one or NONE for one in said), said, tuple(one or NONE for one in said), is_key=True)


def _said(run: ComparedRun, key: str, value: Any) -> str | None:
    if key.startswith("targets.") and run.config.targets.knowledge == "identity":
        return None
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
