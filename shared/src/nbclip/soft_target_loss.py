"""A loss against soft targets as a module of torch, for a training loop that is there already.

    from operator import itemgetter

    from nbclip.client import Service
    from nbclip.soft_target_loss import SoftTargetLoss

    soft = SoftTargetLoss("sm", Service("http://127.0.0.1:8080"))
    for (images, texts, ids), targets in soft.prefetched(loader, ids=itemgetter(2)):
        loss = soft(image_tower(images), text_tower(texts), logit_scale.exp(), targets=targets)
        loss.backward()

Where torch.distributed is initialised, each rank passes its own pairs: features and ids are gathered, features with their
gradients. Each rank's loss is over its own rows and the columns of the global batch. Averaging gradients over ranks, as
DistributedDataParallel does, makes it the loss of the global batch.

Shape legend: R rows (one rank's pairs), C columns (the global batch), D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import signature
from typing import Any, Literal, Protocol, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from nbclip.codec import TargetMatrix
from nbclip.errors import InvalidInput
from nbclip.gathering import from_all, gathered, place
from nbclip.ids import listed_texts
from nbclip.losses import (
    Cosines,
    cosines,
    cross_entropy,
    diagonal,
    mse_of_cosines,
    mse_of_probabilities,
    sigmoid_fff,
    sigmoid_soft,
    widened,
)
from nbclip.prefetch import with_answers

LossName = Literal["infonce", "sm", "mse", "sigmoid_soft", "sigmoid_fff"]
Batch = TypeVar("Batch")


class TargetSource(Protocol):
    """What `nbclip.client.Service` is: `targets(row_ids, column_ids, output=…, …)` gives target rows or similarities, [R, C]."""

    @property
    def targets(self) -> Callable[..., TargetMatrix]:
        """Takes the ids of the rows' and the columns' images, and as `output` "targets" or "similarity"."""
        ...


class SoftTargetLoss(nn.Module):
    """A loss of `nbclip.losses` with what it needs: targets of a source, features of all ranks. It has no parameters.

    Args:
        name: as `nbclip train` names losses. `sm` is the cross entropy against target rows, `infonce` that against one-hot rows,
            which needs no source; `mse`, `sigmoid_soft` and `sigmoid_fff` are in `nbclip.losses`.
        source: asked for targets, such as a `nbclip.client.Service`; None where each call gets its targets.
        mse_on: `cos` for the error of cosines against similarities, `prob` for that of their softmax against target rows.
        diagonal_weight: of `mse`, the diagonal's share of the loss, [0, 1]; None: 1/C.
        threshold: of `sigmoid_fff`, [-1, 1]; a pair whose similarity is above is positive.
        asked: goes to the source with each question; `Service.targets` has `knowledge`, `representation`, `parameters`,
            `on_unknown`.

    Attributes:
        output: what the loss compares with: "targets", "similarity", or None for `infonce`.

    Raises:
        InvalidInput: no such loss, a value out of its range or of another loss, or a source that can't be asked.
        TypeError: the source does not take what is in `asked`.
    """

    def __init__(
        self,
        name: LossName = "sm",
        source: TargetSource | None = None,
        *,
        mse_on: Literal["cos", "prob"] = "cos",
        diagonal_weight: float | None = 0.5,
        threshold: float = 0.5,
        **asked: Any,
    ) -> None:
        super().__init__()
        _check_choice("name", name, get_args(LossName))
        _check_choice("mse_on", mse_on, ("cos", "prob"))
        _check_range("diagonal_weight", 0.5 if diagonal_weight is None else diagonal_weight, 0)
        _check_range("threshold", threshold, -1)
        _check_used("mse", name, mse_on=(mse_on, "cos"), diagonal_weight=(diagonal_weight, 0.5))
        _check_used("sigmoid_fff", name, threshold=(threshold, 0.5))
        self.name, self.mse_on, self.diagonal_weight, self.threshold = name, mse_on, diagonal_weight, threshold
        self.output: Literal["targets", "similarity"] | None = (
            None if name == "infonce" else "targets" if name == "sm" or (name, mse_on) == ("mse", "prob") else "similarity"
        )
        self.source, self._asked = source, asked
        if source is not None:
            if not callable(getattr(source, "targets", None)):
                raise InvalidInput(f"source is {source!r:.80}, which gives no targets", hint="Service(URL) of nbclip.client")
            signature(source.targets).bind([], [], output=self.output, **asked)

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float,
        logit_bias: Tensor | float | None = None,
        *,
        image_ids: Iterable[str] | None = None,
        targets: TargetMatrix | Tensor | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """The loss over this rank's rows, a scalar in float32, or in float64 if the features are that.

        All ranks call it together, with equal numbers of pairs. Arguments have the names of open_clip's losses.

        Args:
            image_features: of this rank's images, floating, [R, D]. They are L2-normalised here, in float32: whether they
                were before makes no difference.
            text_features: the same of its texts.
            logit_scale: exp(logit_scale), as open_clip's models return it: a scalar.
            logit_bias: of the sigmoid losses, a scalar; None: 0. Other losses don't read it.
            image_ids: of this rank's images, for which the source is asked; `infonce` doesn't read them.
            targets: instead of ids: what the source answered, or its values, [R, C], as `prefetched` gives them.
            output_dict: returns `{"soft_target_loss": loss}`, as open_clip's trainer wants it.

        Raises:
            InvalidInput: neither targets nor ids with a source, or both, or they don't fit the features or the loss.
            NBClipError: the service refuses or stays away (`Service.targets`).
        """
        _check_features(image_features, text_features)
        # First, since a GPU may still be computing the features.
        goal_RC = self._goals(image_ids, targets, image_features)
        with torch.autocast(image_features.device.type, enabled=False):
            image_RD, text_RD = (functional.normalize(widened(each), dim=1) for each in (image_features, text_features))
            image_CD, text_CD = gathered(torch.stack([image_RD, text_RD], dim=1)).unbind(dim=1)
            cosine = cosines(image_RD, text_RD, image_CD, text_CD)
            bias = None if logit_bias is None else widened(torch.as_tensor(logit_bias))
            loss = self._loss(cosine, widened(torch.as_tensor(logit_scale)), bias, goal_RC)
        return {"soft_target_loss": loss} if output_dict else loss

    def ask(self, image_ids: Iterable[str], column_ids: Iterable[str] | None = None) -> TargetMatrix:
        """What this loss compares with, [R, C].

        Args:
            image_ids: of the rows' images.
            column_ids: of the columns' images; None: the rows'.

        Raises:
            InvalidInput: there is no source, or nothing to ask, as for `infonce`.
            NBClipError: the service refuses or stays away (`Service.targets`).
        """
        if self.source is None or self.output is None:
            lacks = "has no source" if self.output else "compares with one-hot rows alone"
            raise InvalidInput(f"SoftTargetLoss({self.name!r}) {lacks}", hint="SoftTargetLoss('sm', Service(URL)) asks a service")
        rows = listed_texts("image_ids", image_ids)
        columns = list(rows) if column_ids is None else listed_texts("column_ids", column_ids)
        return self.source.targets(rows, columns, output=self.output, **self._asked)

    def prefetched(
        self, batches: Iterable[Batch], ids: Callable[[Batch], Iterable[str]], *, ahead: int = 4
    ) -> Iterator[tuple[Batch, TargetMatrix | None]]:
        """Each batch with its targets, asked for `ahead` batches before its turn, in a thread; with None for `infonce`.

        Batches are taken, and ids gathered over ranks, in the caller's thread: `ahead` batches are in memory at a time. What the
        source raises is raised at its batch's turn.

        Args:
            batches: of one size on all ranks, and equally many.
            ids: gives the ids of a batch's images, in the order of its features.
            ahead: at least 1.

        Raises:
            InvalidInput: `ahead` is less than 1, or `ids` no function.
        """
        if not callable(ids):
            raise InvalidInput(f"ids is {ids!r:.80}, no function of a batch", hint="such as operator.itemgetter(2)")
        if self.output is None:
            return ((batch, None) for batch in batches)
        questions = ((batch, self._question(ids(batch))) for batch in batches)
        return with_answers(questions, lambda question: self.ask(*question), ahead)

    def _question(self, given: Iterable[str]) -> tuple[list[str], list[str]]:
        """This rank's ids, and those of the global batch."""
        image_ids = listed_texts("image_ids", given)
        every = from_all(image_ids)
        if len({len(ids) for ids in every}) > 1:
            sizes = ", ".join(str(len(ids)) for ids in every)
            raise InvalidInput(f"the ranks' batches have {sizes} pairs", hint="equal ones: drop_last=True of the DataLoader")
        return image_ids, [image_id for ids in every for image_id in ids]

    def _goals(
        self, image_ids: Iterable[str] | None, targets: TargetMatrix | Tensor | None, features_RD: Tensor
    ) -> Tensor | None:
        """P or S of this rank's rows on the features' device, [R, C]; None for `infonce`."""
        if self.output is None:
            if targets is not None:
                raise InvalidInput(
                    "infonce compares with one-hot rows, and got targets", hint="SoftTargetLoss('sm') compares with them"
                )
            return None
        if targets is not None and image_ids is not None:
            raise InvalidInput(
                f"SoftTargetLoss({self.name!r}) got both image_ids and targets",
                hint="pass one: targets of these ids need no asking",
            )
        if targets is None:
            if image_ids is None:
                raise InvalidInput(f"SoftTargetLoss({self.name!r}) got no targets", hint="pass image_ids=… or targets=…")
            targets = self.ask(*self._question(image_ids))
        if isinstance(targets, TargetMatrix):
            if targets.output != self.output:
                raise InvalidInput(
                    f"SoftTargetLoss({self.name!r}) compares with {self.output}, not with {targets.output}",
                    hint=f"ask for output={self.output!r}",
                )
            targets = torch.tensor(targets.values, dtype=torch.float32)
        elif not isinstance(targets, Tensor):
            raise InvalidInput(
                f"targets is of type {type(targets).__name__}",
                hint="what `prefetched` or `Service.targets` gave, or a tensor: torch.as_tensor(rows)",
            )
        # Of the caller's own alone; and not on a GPU, whose answer the host would wait for.
        elif targets.device.type == "cpu" and not targets.isfinite().all():
            raise InvalidInput("targets hold what is no finite number", hint="rows of targets sum to 1; similarities are [-1, 1]")
        rows = len(features_RD)
        if targets.shape != (rows, rows * place()[1]):
            raise InvalidInput(
                f"targets of shape {list(targets.shape)} for {rows} pairs on each of {place()[1]} ranks",
                hint="rows are this rank's pairs, columns those of all ranks, rank 0's first",
            )
        goal_RC = widened(targets.to(features_RD.device, non_blocking=True))
        # A pair is like itself, also where nothing is known of it.
        return goal_RC.masked_fill(diagonal(goal_RC, _own(rows, goal_RC)), 1.0) if self.output == "similarity" else goal_RC

    def _loss(self, cosine: Cosines, scale: Tensor, bias: Tensor | None, goal_RC: Tensor | None) -> Tensor:
        own_R = _own(len(cosine.image_text), cosine.image_text)
        if goal_RC is None:
            goal_RC = diagonal(cosine.image_text, own_R)
        goal_RC = goal_RC.to(cosine.image_text.dtype)
        match self.name, self.mse_on:
            case "mse", "cos":
                return mse_of_cosines(cosine, goal_RC, diagonal_weight=self.diagonal_weight, own_R=own_R)
            case "mse", _:
                return mse_of_probabilities(cosine, scale, goal_RC, diagonal_weight=self.diagonal_weight, own_R=own_R)
            case "sigmoid_soft", _:
                return sigmoid_soft(cosine, scale, bias, goal_RC)
            case "sigmoid_fff", _:
                return sigmoid_fff(cosine, scale, bias, goal_RC, threshold=self.threshold, own_R=own_R)
        return cross_entropy(cosine, scale, goal_RC)


def _own(rows: int, like: Tensor) -> Tensor:
    """Columns of this rank's own pairs in the global batch, int64, [R], on the device of `like`."""
    return torch.arange(rows, device=like.device) + place()[0] * rows


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InvalidInput(f"{name}={value!r}", hint=f"one of {', '.join(choices)}")


def _check_used(reader: str, name: str, **settings: tuple[object, object]) -> None:
    """Settings that only the loss `reader` reads: value and default."""
    for setting, (value, default) in settings.items():
        if value != default and name != reader:
            raise InvalidInput(f"{setting}={value} is a setting of {reader}, not of {name}", hint="leave it out")


def _check_range(name: str, value: float, least: float) -> None:
    if not least <= value <= 1:
        raise InvalidInput(f"{name}={value}", hint=f"from {least} to 1")


def _check_features(image_features: Tensor, text_features: Tensor) -> None:
    for name, features in (("image_features", image_features), ("text_features", text_features)):
        if not isinstance(features, Tensor):
            raise InvalidInput(f"{name} is of type {type(features).__name__}", hint="a tensor: torch.as_tensor(features)")
    if image_features.ndim != 2 or image_features.shape != text_features.shape:
        raise InvalidInput(
            f"image features of shape {list(image_features.shape)}, text features of {list(text_features.shape)}",
            hint="both are [pairs, dimensions]",
        )
