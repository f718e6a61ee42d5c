"""Captions as the text tower reads them, and how many are longer than that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from nbclip_trainer.models.building import Tokenizer


@dataclass(frozen=True, slots=True)
class Cut:
    """Captions of which the text tower reads the beginning alone.

    Attributes:
        captions: how many.
        longest: tokens of the longest caption, its start and end included; 0 where none is cut.
        context: tokens that the text tower reads.
    """

    captions: int
    longest: int
    context: int

    def __str__(self) -> str:
        """A sentence, empty where no caption is cut."""
        if not self.captions:
            return ""
        return (
            f"captions cut at the {self.context} tokens that the text tower reads: {self.captions}, the longest of "
            f"{self.longest}; targets come from whole captions"
        )


def tokenized(tokenizer: Tokenizer, captions: Sequence[str]) -> tuple[Tensor, Cut]:
    """Token ids, int64, [N, context length], and what did not fit."""
    token_NL = tokenizer(list(captions))
    context = token_NL.shape[1]
    padding = tokenizer([""])[0, -1]
    # Only what fills the context can be longer than it.
    full = (token_NL[:, -1] != padding).nonzero().flatten().tolist()
    lengths = [length for row in full if (length := _length(tokenizer, captions[row], int(padding))) > context]
    return token_NL, Cut(len(lengths), max(lengths, default=0), context)


def _length(tokenizer: Tokenizer, caption: str, padding: int) -> int:
    """Tokens of a whole caption: no more than its bytes, twice for what lower case makes longer, and the ones that are added."""
    token_L = tokenizer([caption], context_length=2 * len(caption.encode()) + 16)[0]
    return int((token_L != padding).nonzero().max()) + 1
