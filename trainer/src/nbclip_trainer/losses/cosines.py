"""What every loss starts from: cosines of a rank's pairs with the global batch.

Shape legend: R rows (one rank's pairs), C columns (the global batch), D embedding dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Cosines:
    """Cosines of a rank's images to all texts, and of its texts to all images: float32, [R, C] both."""

    image_text: Tensor
    text_image: Tensor


def cosines(image_RD: Tensor, text_RD: Tensor, image_CD: Tensor, text_CD: Tensor) -> Cosines:
    """All cosines that a rank's loss needs, from L2-normalised features, in float32 whatever the towers computed in."""
    with torch.autocast(image_RD.device.type, enabled=False):
        return Cosines(image_RD.float() @ text_CD.float().T, text_RD.float() @ image_CD.float().T)


def diagonal(own_R: Tensor, columns: int) -> Tensor:
    """True at each row's own column, bool, [R, C]."""
    return own_R[:, None] == torch.arange(columns, device=own_R.device)[None, :]
