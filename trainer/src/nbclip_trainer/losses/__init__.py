"""The losses: image-text cosines and the batch's targets in, named scalars out.

With c the cosines, s = exp(logit_scale), b = logit_bias, z = s·c + b, S the similarities, P the target rows, n rows:

    infonce, sm     ½(CE(z_rows, P_rows) + CE(z_columns, P_rows)): cross entropy against rows; infonce has one-hot rows
    mse             on cosines: mean (c - S)²; on probabilities: Σ_j (softmax(z) - P)², mean over rows
    sigmoid_soft    1/n Σ_ij BCE with logits(z_ij, clamp(S_ij, 0, 1))
    sigmoid_fff     1/n Σ_ij -logsigmoid(m_ij·z_ij), m = +1 if S_ij > θ or i = j, else -1 (Bulat et al., FFF, CVPR 2024)

A loss over a rank's rows, meaned over ranks of equal size, is the loss over the global batch.
"""

from __future__ import annotations

from torch import Tensor

from nbclip_trainer.config import LossSettings
from nbclip_trainer.losses.cosines import Cosines
from nbclip_trainer.losses.cross_entropy import cross_entropy, entropy
from nbclip_trainer.losses.mse import mse
from nbclip_trainer.losses.sigmoid import sigmoid_fff, sigmoid_soft
from nbclip_trainer.targets.rows import Targets


def compute_loss(
    cosine: Cosines, scale: Tensor, bias: Tensor | None, targets: Targets, settings: LossSettings
) -> dict[str, Tensor]:
    """The loss of `settings.name` and what goes to the log beside it.

    Args:
        cosine: of this rank's pairs.
        scale: s, scalar, [1, 100].
        bias: b, scalar; None for losses without one.
        targets: of the same rows and columns.
        settings: which loss, and its own keys.

    Returns:
        `loss`, the scalar to minimise, and for `sm` the `kl` to the targets, whose optimum is 0.
    """
    match settings.name:
        case "infonce":
            return {"loss": cross_entropy(cosine, scale, targets)}
        case "sm":
            loss = cross_entropy(cosine, scale, targets)
            return {"loss": loss, "kl": loss.detach() - entropy(targets.rows).mean()}
        case "mse":
            return {"loss": mse(cosine, scale, targets, settings)}
        case "sigmoid_soft":
            return {"loss": sigmoid_soft(cosine, scale, bias, targets)}
        case "sigmoid_fff":
            return {"loss": sigmoid_fff(cosine, scale, bias, targets, settings.threshold)}
