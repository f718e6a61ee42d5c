"""Names like those of the UMLS, recombined from the open example vocabulary; nothing of the UMLS is in them.

Real names are joined, qualified and numbered, as those of procedures, drugs and laboratory tests are. Words coined from halves of
real ones give the vocabulary its long tail, as species and chemicals do. A few names run to thousands of bytes.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rows import taken

_EXAMPLE = Path(__file__).parents[2] / "examples" / "vocabulary"
_JOINED, _COINED, _QUALIFIED, _LONG = 0.22, 0.3, 0.45, 5e-5
_JOINTS = ("with", "of", "and", "due to", "without", "/", "in")
_QUALIFIERS = (
    "type {}",
    "grade {}",
    "stage {}",
    "{} mg",
    "{} mg tablet",
    "{} mL",
    "region {}",
    "strain {}",
    "ser. {}",
    "code {}",
)
_PLAIN_QUALIFIERS = (
    "left",
    "right",
    "bilateral",
    "acute",
    "chronic",
    "(finding)",
    "(disorder)",
    "(procedure)",
    "NOS",
    "unspecified",
)
_HIGHEST_NUMBER = 2_000
_LONG_TEXTS = 500
_FOREIGN = {
    "SPA": "(véase también)", "FRE": "maladie liée à", "GER": "und Störungen, übrige", "JPN": "疾患のある", "RUS": "заболевание",
    "CHI": "疾病", "CZE": "onemocnění", "KOR": "질환", "POR": "doença não especificada", "HUN": "betegségek és tünetek",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Material:
    """What names are made of: real names, first and last halves of their longer words, qualifiers, and very long texts."""

    names: pa.Array
    fronts: pa.Array
    backs: pa.Array
    qualifiers: pa.Array
    long_texts: pa.Array


def read_material(luck: np.random.Generator) -> Material:
    """The open names and what is cut from them."""
    with gzip.open(_EXAMPLE / "MRCONSO.RRF.gz", "rt", encoding="utf-8") as rows:
        names = sorted({line.split("|")[14] for line in rows})
    words = sorted({word.lower() for name in names for word in name.split() if len(word) > 6 and word.isalpha()})
    numbered = [pattern.format(number) for pattern in _QUALIFIERS for number in range(1, _HIGHEST_NUMBER)]
    often = len(numbered) // len(_PLAIN_QUALIFIERS)
    drawn = np.array(names, object)
    long_texts = [" ".join(luck.choice(drawn, size)) for size in luck.integers(50, 350, _LONG_TEXTS)]
    halves = ([word[: len(word) // 2 + 1] for word in words], [word[len(word) // 2 - 1 :] for word in words])
    return Material(*map(pa.array, (names, *halves, numbered + list(_PLAIN_QUALIFIERS) * often, long_texts)))


def compose(material: Material, luck: np.random.Generator, languages: pa.Array) -> pa.Array:
    """A name for each of `languages`; those of other than English have some of its own script."""
    count = len(languages)
    coined = luck.random(count) < _COINED
    parts = [
        taken(material.names, luck.integers(0, len(material.names), count)),
        pc.binary_join_element_wise(_some(_JOINTS, luck, count, _JOINED), _some(material.names, luck, count), " "),
        pc.binary_join_element_wise(_some(material.fronts, luck, count, coined), _some(material.backs, luck, count), ""),
        _some(material.qualifiers, luck, count, _QUALIFIED),
        pa.array([*_FOREIGN.values()]).take(pc.index_in(languages, pa.array([*_FOREIGN]))),
        _some(material.long_texts, luck, count, _LONG),
    ]
    return pc.binary_join_element_wise(*parts, " ", null_handling="skip")


def _some(values: pa.Array | tuple[str, ...], luck: np.random.Generator, count: int, where: float | np.ndarray = 1.0) -> pa.Array:
    """One of `values` at random for each of `count`; null but for a share, or where told."""
    chosen = luck.random(count) < where if isinstance(where, float) else where
    return taken(values, luck.integers(0, len(values), count), chosen)
