"""What a loss declares. A new one is a file with a subclass of `Loss`, its parameters as fields, and a line in `table.LOSSES`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from nbclip.schemas.base import Strict

if TYPE_CHECKING:
    # Settings name losses, and are read by commands that must not wait for torch: `compute` imports what it needs.
    from nbclip.losses import Cosines
    from torch import Tensor

    from nbclip_trainer.targets.rows import Targets

Scalars: TypeAlias = "dict[str, Tensor]"
"""`loss`, the one to minimise, and any others for the log."""


@dataclass(frozen=True, slots=True)
class LossInput:
    """A batch as a loss sees it.

    Attributes:
        cosine: of this rank's pairs.
        scale: exp(logit_scale), scalar, [1, 100]; at least 1 beside a bias.
        bias: logit_bias, scalar; None for a loss without one.
        targets: of the same rows and columns.
    """

    cosine: Cosines
    scale: Tensor
    bias: Tensor | None
    targets: Targets


class Loss(Strict):
    """A loss with its parameters: the section `loss` of the settings.

    Attributes:
        name: its key in the table.
        takes_knowledge: False where only one-hot targets make sense.
        has_bias: True where the model learns a logit bias.
        is_cross_entropy: True where a model that knows nothing has the loss ln N, and the targets' entropy is the least.
    """

    name: str
    takes_knowledge: ClassVar[bool] = True
    has_bias: ClassVar[bool] = False
    is_cross_entropy: ClassVar[bool] = False

    @property
    def compares_rows(self) -> bool:
        """Whether it reads the target rows, as cross entropies do, and not the similarities."""
        return self.is_cross_entropy

    def goals(self, targets: Targets) -> Tensor:
        """What the sigmoids of pairs should be, [0, 1], [R, C]: a logit bias starts from their mean."""
        return targets.similarity.clamp(0, 1)

    def compute(self, given: LossInput) -> Scalars:
        """The loss of a batch."""
        raise NotImplementedError
