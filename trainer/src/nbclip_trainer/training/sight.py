"""A first look at a split: its images, its captions as the text tower reads them, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass

from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.images import Images
from nbclip_trainer.data.loading import load_images
from nbclip_trainer.models.building import ModelParts
from nbclip_trainer.models.captions import ByRow, Cut, texts_of


@dataclass(frozen=True, slots=True)
class Seen:
    """What the towers take of N pairs.

    Attributes:
        images: theirs, or their features.
        texts: token ids of the captions, int32, [N, context length]; or their features, float32.
        bad: why an image can't be decoded, by its row.
        frames: how many images a file holds, by its row, where there are several.
        cut: how many captions are longer than the text tower reads.
    """

    images: Images
    texts: ByRow
    bad: dict[int, str]
    frames: dict[int, int]
    cut: Cut


def look(dataset: Dataset, parts: ModelParts, config: TrainConfig) -> Seen:
    """Looks at every image once, and takes its captions' tokens."""
    loaded = load_images(dataset, parts.preprocess, config.data, config.augmentation, config.seed)
    tokens, cut = texts_of(dataset, parts.tokenizer)
    return Seen(loaded.images, tokens, loaded.bad, loaded.frames, cut)
