"""Captions as the text tower reads them, and how many are longer than that.

Shape legend: N captions, T different ones, L tokens of the context.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from nbclip.errors import InvalidInput
from torch import Tensor

from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.indexed import IndexedDataset
from nbclip_trainer.data.manifest import AGAIN
from nbclip_trainer.data.parts import EncodedTexts, Encoding
from nbclip_trainer.models.building import Tokenizer, tokenizer_of
from nbclip_trainer.models.settings import ModelSettings
from nbclip_trainer.targets.rows import caption_keys

_SAMPLE = 256
"""Captions of an index whose tokens are looked at: another tokenizer makes others of them."""


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


class ByRow(Protocol):
    """A tensor, or what reads one's rows when they are asked for."""

    def __getitem__(self, rows: Any, /) -> Tensor:
        """The tensor of these rows."""
        ...


class Texts(NamedTuple):
    """The captions of a dataset: token ids, int32, [N, L], and what does not fit."""

    tokens: ByRow
    cut: Cut


def texts_of(dataset: Dataset, tokenizer: Tokenizer) -> Texts:
    """The captions of a dataset, tokenized, or of an index as they were when it was made.

    Raises:
        InvalidInput: the index has tokens of another tokenizer.
    """
    if isinstance(dataset, IndexedDataset):
        refuse_other_tokens(dataset, tokenizer)
        part = dataset.part
        return Texts(dataset.tokens(), Cut(part.cut, part.longest, dataset.index.manifest.context))
    tokens, cut = tokenized(tokenizer, dataset.captions)
    return Texts(tokens.int(), cut)


def keys_of(dataset: Dataset) -> ByRow:
    """`caption_keys` of a dataset's captions, int64, [N]."""
    return dataset.keys() if isinstance(dataset, IndexedDataset) else caption_keys(dataset.captions)


def tokenized(tokenizer: Tokenizer, captions: Sequence[str]) -> tuple[Tensor, Cut]:
    """Token ids, int64, [N, L], and what does not fit."""
    token_NL, length_N = _with_lengths(tokenizer, captions)
    return token_NL, Cut(int(np.count_nonzero(length_N)), int(length_N.max(initial=0)), token_NL.shape[1])


def encoding_of(settings: ModelSettings) -> Encoding:
    """How an index has captions for a model; raises InvalidInput as `tokenizer_of`."""
    tokenizer_of(settings)
    return Encoding(settings.name, json.dumps(settings.reading()), partial(_encoded, settings))


def _encoded(settings: ModelSettings, captions: Sequence[str]) -> EncodedTexts:
    """Captions as an index holds them, each text encoded once; processes that share the work are given this."""
    tokenizer = _tokenizer(settings.model_dump_json())
    place_of = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
    texts, place_N = list(place_of), np.fromiter((place_of[caption] for caption in captions), np.int64, len(captions))
    token_TL, length_T = _with_lengths(tokenizer, texts)
    small = getattr(tokenizer, "vocab_size", 1 << 31) <= 1 << 16
    narrow_TL: npt.NDArray[np.uint16 | np.int32] = token_TL.numpy().astype(np.uint16 if small else np.int32)
    return EncodedTexts(narrow_TL[place_N], caption_keys(texts).numpy()[place_N], length_T[place_N])


@cache
def _tokenizer(settings: str) -> Tokenizer:
    return tokenizer_of(ModelSettings.model_validate_json(settings))


def _with_lengths(tokenizer: Tokenizer, captions: Sequence[str]) -> tuple[Tensor, npt.NDArray[np.int32]]:
    """Token ids, [N, L], and of each caption that is longer how many it has, else 0."""
    token_NL = tokenizer(list(captions))
    context = token_NL.shape[1]
    padding = int(tokenizer([""])[0, -1])
    length_N = np.zeros(len(captions), np.int32)
    # Only what fills the context can be longer than it.
    for row in (token_NL[:, -1] != padding).nonzero().flatten().tolist():
        length = _length(tokenizer, captions[row], padding)
        length_N[row] = length if length > context else 0
    return token_NL, length_N


def _length(tokenizer: Tokenizer, caption: str, padding: int) -> int:
    """Tokens of a whole caption: no more than its bytes, twice for what lower case makes longer, and the ones that are added."""
    token_L = tokenizer([caption], context_length=2 * len(caption.encode()) + 16)[0]
    return int((token_L != padding).nonzero().max()) + 1


def refuse_other_tokens(dataset: Dataset, tokenizer: Tokenizer) -> None:
    """Raises InvalidInput if a dataset is an index with tokens of another tokenizer; looks at some of its captions."""
    if not isinstance(dataset, IndexedDataset):
        return
    index = dataset.index
    sample = np.unique(np.linspace(0, index.manifest.whole.rows - 1, _SAMPLE).astype(np.int64))
    token_NL = tokenizer(index.table.values("caption", sample)).numpy()
    made_with = f"{index.folder} has tokens of {index.manifest.tokenizer}"
    if token_NL.shape[1] != index.manifest.context:
        raise InvalidInput(
            f"{made_with}, {index.manifest.context} a caption, and this model reads {token_NL.shape[1]}",
            hint=AGAIN,
        )
    if not np.array_equal(token_NL, index.all_tokens()[sample]):
        raise InvalidInput(f"{made_with}, and this model has another tokenizer", hint=AGAIN)
