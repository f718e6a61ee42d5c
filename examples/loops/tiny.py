"""For the loops beside: the pairs of a table with columns `image_id`, `file`, `caption` and `split`, and two small towers."""

from csv import DictReader
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

SIZE, WORDS, VOCABULARY = 32, 24, 4096
Pair = tuple[Tensor, Tensor, str]


class Pairs(Dataset[Pair]):
    """Pixels, float32, [3, SIZE, SIZE]; words, int64, [WORDS], 0 behind the last; and the image's id: of one split."""

    def __init__(self, table: str, split: str = "train") -> None:
        with Path(table).open(encoding="utf-8", newline="") as file:
            self.rows = [row for row in DictReader(file) if row["split"] == split]
        self.folder = Path(table).parent

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Pair:
        row = self.rows[number]
        with Image.open(self.folder / row["file"]) as image:
            pixels = np.array(image.convert("RGB").resize((SIZE, SIZE)), np.float32) / 255
        words = [1 + crc32(word.encode()) % (VOCABULARY - 1) for word in row["caption"].lower().split()][: WORDS - 1]
        return torch.from_numpy(pixels).permute(2, 0, 1), torch.tensor(words + [0] * (WORDS - len(words))), row["image_id"]


class Towers(nn.Module):
    """A linear image tower and a bag of words: features of images and texts, [N, 64] both, and exp(logit_scale)."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(3 * SIZE * SIZE, 64), nn.EmbeddingBag(VOCABULARY, 64, padding_idx=0)
        self.logit_scale = nn.Parameter(torch.tensor(2.66))

    def forward(self, images: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.image(images.flatten(1)), self.text(words), self.logit_scale.exp()
