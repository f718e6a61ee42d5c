"""From similarities to what losses take.

Shape legend: R rows (one rank's images), C columns (the global batch).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from nbclip.ids import caption_key, caption_sha256
from nbclip.targets import build_targets, duplicate_mask, hard_targets
from torch import Tensor

from nbclip_trainer.targets.multiply import similarity_on
from nbclip_trainer.targets.settings import TargetSettings
from nbclip_trainer.targets.source import Answer


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of one rank's rows. Images and texts have the same rows, since similarity is symmetric.

    Attributes:
        rows: P, float32, [R, C], each row sums to 1.
        similarity: S, float32, [R, C], 1 for pairs that are the same.
        own: column of each row's own image, int64, [R].
        has_knowledge: True where the row's image has a usable CUI, bool, [R].
    """

    rows: Tensor
    similarity: Tensor
    own: Tensor
    has_knowledge: Tensor


def caption_keys(captions: Sequence[str]) -> Tensor:
    """`caption_key` of each caption, int64."""
    return torch.tensor([caption_key(caption_sha256(caption)) for caption in captions], dtype=torch.int64)


def target_rows(
    answer: Answer,
    own_R: Tensor,
    row_keys_R: Tensor,
    column_keys_C: Tensor,
    settings: TargetSettings,
    device: torch.device,
    done: float = 0.0,
) -> Targets:
    """Builds the targets of a batch on `device`.

    Args:
        answer: the source's, for these rows and columns.
        own_R: column of each row's own image, int64.
        row_keys_R: `caption_keys` of the rows.
        column_keys_C: `caption_keys` of the columns.
        settings: form of the targets; with `duplicates=ignore` equal captions are pairs like any other.
        device: where the loss is computed.
        done: share of the run's steps, for `targets.schedule`.
    """
    own_R = own_R.to(device)
    similarity_RC = similarity_on(device, answer, own_R)
    has_knowledge_C = torch.from_numpy(answer.has_knowledge).to(device)
    duplicate_RC = None
    if settings.duplicates == "positive":
        duplicate_RC = duplicate_mask(row_keys_R.to(device), column_keys_C.to(device))
    if answer.has_knowledge.any():
        rows_RC = build_targets(similarity_RC, own_R, has_knowledge_C, settings.parameters(done), duplicate_RC=duplicate_RC)
    else:
        # Plain CLIP has no neighbours whose temperature would have to be solved for at every step.
        rows_RC = hard_targets(similarity_RC, own_R, duplicate_RC=duplicate_RC)
    if duplicate_RC is not None:
        similarity_RC = similarity_RC.masked_fill(duplicate_RC, 1.0)
    return Targets(rows_RC, similarity_RC, own_R, has_knowledge_C[own_R])
