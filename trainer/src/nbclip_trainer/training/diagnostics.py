"""What goes to the log beside the loss: do the targets say anything, and do the features still spread?

Shape legend: R rows (one rank's pairs), C columns (the global batch).
"""

from __future__ import annotations

import torch
from nbclip.losses import Cosines, diagonal, entropy
from nbclip.schemas.targets import TargetParameters
from torch import Tensor

from nbclip_trainer.targets.rows import Targets

COLLAPSED_SPREAD = 0.01
"""Standard deviation of off-diagonal cosines below which all features point the same way."""
FLAT_LOGITS = 15.0
"""exp(logit_scale)·τ above which cosines can't move the softmax of targets as flat as these."""
_LARGEST_SAMPLE = 512


@torch.no_grad()
def diagnose(cosine: Cosines, scale: Tensor, targets: Targets) -> dict[str, float]:
    """Figures of one batch.

    Returns:
        `effective_positives`, exp(mean entropy of the target rows), 1 for one-hot; `target_entropy` in nats;
        `without_knowledge` and `one_hot`, shares of rows, [0, 1]; `spearman`, of similarity and cosine over off-diagonal
        pairs, NaN where one of them is constant; `cosine_spread`, standard deviation of the off-diagonal cosines;
        `cosine_mean`, theirs, and `positive_cosine`, of the pairs; `logit_scale`, exp(logit_scale).
    """
    cosine_RC = cosine.image_text
    own_RC = diagonal(cosine_RC, targets.own)
    others = cosine_RC[~own_RC]
    mean_entropy = entropy(targets.rows).mean()
    sample_RC = ~own_RC[:_LARGEST_SAMPLE, :_LARGEST_SAMPLE]
    similarity, sampled = (
        values_RC[:_LARGEST_SAMPLE, :_LARGEST_SAMPLE][sample_RC] for values_RC in (targets.similarity, cosine_RC)
    )
    return {
        "effective_positives": mean_entropy.exp().item(),
        "target_entropy": mean_entropy.item(),
        "without_knowledge": (~targets.has_knowledge).float().mean().item(),
        "one_hot": (targets.rows.max(dim=1).values > 1 - 1e-6).float().mean().item(),
        "spearman": spearman(similarity, sampled),
        "cosine_spread": others.std().item(),
        "cosine_mean": others.mean().item(),
        "positive_cosine": cosine_RC[own_RC].mean().item(),
        "logit_scale": scale.item(),
    }


def alarms(figures: dict[str, float], parameters: TargetParameters, *, warmed_up: bool) -> list[str]:
    """Sentences on what has gone wrong, if anything.

    Args:
        figures: of `diagnose`.
        parameters: where a fixed temperature stands.
        warmed_up: whether the warm-up is over; features of a fresh model may be close together.
    """
    found = []
    if warmed_up and figures["cosine_spread"] < COLLAPSED_SPREAD:
        found.append(
            f"collapse: off-diagonal cosines spread {figures['cosine_spread']:.4f} < {COLLAPSED_SPREAD}, all features point the "
            "same way; targets too flat? (targets.form=recommended, lower targets.neighbour_mass or targets.temperature)"
        )
    temperature = parameters.temperature or (1.0 if parameters.form == "paper-literal" else None)
    if temperature is not None and figures["logit_scale"] * temperature > FLAT_LOGITS:
        found.append(
            f"flat targets: logit_scale x temperature = {figures['logit_scale'] * temperature:.1f} > {FLAT_LOGITS:g}; "
            "lower targets.temperature or leave it to targets.effective_neighbours"
        )
    return found


def spearman(left: Tensor, right: Tensor) -> float:
    """Spearman's rank correlation of two vectors, ties at their mean rank, [-1, 1]; NaN where one is constant."""
    ranks = torch.stack([_mean_ranks(left.flatten()), _mean_ranks(right.flatten())])
    return float(torch.corrcoef(ranks)[0, 1].clamp(-1, 1))


def _mean_ranks(values: Tensor) -> Tensor:
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks: Tensor = (last - (counts - 1) / 2)[inverse]
    return ranks
