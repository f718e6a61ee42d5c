"""What the runs retrieve, to be looked at: some queries, and each run's first five pictures for them.

Shape legend: Q queries, G gallery, K ranks.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from nbclip.files.addresses import Location, location
from PIL import Image

from nbclip_trainer.data.decoding import open_image
from nbclip_trainer.evaluation.ranking import NOTHING, rank
from nbclip_trainer.runs.results import Float32, Scored

SHOWN = 5
_SIDE = 128
Mark = Literal["hit", "half", "miss", "query"]
Relevance = tuple[Mark, str]
"""How well an image answers a query: the mark, and in words."""
ImageRow = dict[str, Any]
"""A row of pictures.parquet."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture with what stands under it.

    Attributes:
        image_id: its id.
        uri: the picture as a data URI.
        caption: its caption.
        label: modality and organ, as far as known.
        credit: source and licence, and whom to name.
        mark: how well it answers the query.
        words: the mark in words; empty for a query.
        concepts: names of the concepts that it shares with the query, the rarest first; for a query its own; None where one
            of the two has none at all.
        score: cosine with the query; None for the query itself.
    """

    image_id: str
    uri: str
    caption: str
    label: str
    credit: str
    mark: Mark
    words: str
    concepts: tuple[str, ...] | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Retriever:
    """Who retrieves: `features` of all images of `Exhibits`; `place`, from 1, decides its colour, 0: it has none."""

    name: str
    place: int
    features: Float32


@dataclass(frozen=True, slots=True)
class Answered:
    """A query and the first pictures of each retriever, in their order."""

    query: Shown
    answers: list[tuple[Retriever, list[Shown]]]


@dataclass(frozen=True)
class Exhibits:
    """What galleries are drawn from.

    Attributes:
        scored: an evaluation: its images, their labels and the classes that are asked for.
        retrievers: their features are of the same images.
        max_pixels: an image of more is not opened.
        seed: of the choice of queries.
    """

    scored: Scored
    retrievers: Sequence[Retriever]
    max_pixels: int
    seed: int = 0
    _uris: dict[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> Literal["linked_cui_list", "cui_list"]:
        """The column of concepts that are shown: linked ones, which every image may have, else gold ones."""
        return "cui_list" if self.scored.evaluation.linked is None else "linked_cui_list"

    @cached_property
    def table(self) -> pl.DataFrame:
        """The images with their rows."""
        return self.scored.images.with_row_index("row")

    @cached_property
    def counts(self) -> Counter[str]:
        """How many images have each concept."""
        return Counter(cui for cuis in self.table[self.labels] for cui in cuis)

    def named(self, cuis: Sequence[str]) -> tuple[str, ...]:
        """Names of concepts, the rarest first; a CUI stands for itself where no service told its name."""
        rarest_first = sorted(cuis, key=lambda cui: (self.counts[cui], cui))
        return tuple(self.scored.names.get(cui) or cui for cui in rarest_first)

    def uri(self, file: str) -> str:
        """A picture as a data URI, opened once."""
        if file not in self._uris:
            self._uris[file] = _data_uri(location(file), self.max_pixels)
        return self._uris[file]


def class_gallery(exhibits: Exhibits, queries: int = 6) -> list[Answered]:
    """Queries drawn from as many classes as there are, one of each before a second of any.

    A picture of the query's modality and organ is a hit, one of its modality or its organ alone is half a hit. Ranked are
    the pictures whose modality and organ are both known, as for the modality-organ figures. A class whose pictures are all
    of one case is not asked for.

    Raises:
        BadImage: an image is gone from where the evaluation found it.
    """
    scored = exhibits.scored.evaluation.classes["modality_organ"].scored
    pool = exhibits.table.filter("in_class_task", pl.col("modality_organ").is_not_null())
    answerable = pl.col("case").n_unique().over("modality_organ") > 1
    asked = pool.filter(pl.col("modality_organ").is_in(list(scored)) & answerable)
    chosen = _spread(asked, "modality_organ", queries, exhibits.seed)
    return list(_answered(exhibits, pool, chosen, exhibits.labels, _class_relevance))


def cui_gallery(exhibits: Exhibits, queries: int = 4) -> list[Answered]:
    """Queries drawn from the pictures with gold CUIs; a picture that shares half of the query's CUIs is a hit, any a half.

    Raises:
        BadImage: an image is gone from where the evaluation found it.
    """
    pool = exhibits.table.filter("in_cui_task")
    asked = pool.filter(pl.col("cui_list").list.len() > 1)
    return list(_answered(exhibits, pool, _spread(asked, "modality", queries, exhibits.seed), "cui_list", _cui_relevance))


def credits_of(answered: Sequence[Answered]) -> list[tuple[str, list[str]]]:
    """Whom the pictures shown come from, and which they are."""
    credits: dict[str, set[str]] = {}
    for one in answered:
        for shown in (one.query, *(picture for _, found in one.answers for picture in found)):
            credits.setdefault(shown.credit, set()).add(shown.image_id)
    return [(credit, sorted(ids)) for credit, ids in sorted(credits.items())]


def _spread(pool: pl.DataFrame, column: str, wanted: int, seed: int) -> list[int]:
    """Rows of the pool in a seeded order that goes round the classes."""
    generator = np.random.default_rng(seed)
    groups = [list(generator.permutation(group["row"])) for group in pool.partition_by(column, maintain_order=True)]
    generator.shuffle(groups)
    rounds = range(max(map(len, groups), default=0))
    return [int(group[turn]) for turn in rounds for group in groups if turn < len(group)][:wanted]


def _answered(
    exhibits: Exhibits,
    pool: pl.DataFrame,
    chosen: Sequence[int],
    labels: str,
    relevance: Callable[[ImageRow, ImageRow], Relevance],
) -> Iterator[Answered]:
    if not chosen:
        return
    table = {row["row"]: row for row in pool.iter_rows(named=True)}
    case = exhibits.table["case"].to_numpy()
    rankings = [(one, list(_first(one.features, case, pool, chosen))) for one in exhibits.retrievers]
    for place, row in enumerate(chosen):
        query = table[row]
        asks = _shown(exhibits, query, ("query", ""), exhibits.named(query[labels]) or None)
        show = partial(_answer, exhibits, query, labels, relevance)
        yield Answered(asks, [(one, [show(table[hit], score) for hit, score in found[place]]) for one, found in rankings])


def _answer(
    exhibits: Exhibits,
    query: ImageRow,
    labels: str,
    relevance: Callable[[ImageRow, ImageRow], Relevance],
    found: ImageRow,
    score: float,
) -> Shown:
    known = query[labels] and found[labels]
    shared = exhibits.named([cui for cui in found[labels] if cui in query[labels]]) if known else None
    return _shown(exhibits, found, relevance(query, found), shared, score)


def _first(
    image: Float32, case: npt.NDArray[np.int64], pool: pl.DataFrame, chosen: Sequence[int]
) -> Iterator[list[tuple[int, float]]]:
    """The first rows and cosines for each query."""
    rows = pool["row"].to_numpy()
    for ranking in rank(image[list(chosen)], image[rows], case[list(chosen)], case[rows], depth=SHOWN):
        for index_K, score_K in zip(ranking.index, ranking.score, strict=True):
            yield [(int(rows[index]), float(score)) for index, score in zip(index_K, score_K, strict=True) if index != NOTHING]


def _class_relevance(query: ImageRow, found: ImageRow) -> Relevance:
    modality, organ = (query[name] == found[name] for name in ("modality", "organ"))
    if modality and organ:
        return "hit", "modality, organ"
    if modality or organ:
        return "half", "modality only" if modality else "organ only"
    return "miss", "neither"


def _cui_relevance(query: ImageRow, found: ImageRow) -> Relevance:
    wanted, shared = set(query["cui_list"]), set(query["cui_list"]) & set(found["cui_list"])
    mark: Mark = "miss" if not shared else "hit" if 2 * len(shared) >= len(wanted) else "half"
    return mark, f"shares {len(shared)} of {len(wanted)} CUIs"


def _shown(
    exhibits: Exhibits,
    row: ImageRow,
    relevance: Relevance,
    concepts: tuple[str, ...] | None,
    score: float | None = None,
) -> Shown:
    label = " · ".join(str(row[name]).replace("_", " ") for name in ("modality", "organ") if row[name])
    credit = ". ".join(str(row[name]) for name in ("source", "licence", "attribution") if row[name])
    return Shown(row["image_id"], exhibits.uri(row["file"]), row["caption"], label, credit, *relevance, concepts, score)


def _data_uri(path: Location, max_pixels: int) -> str:
    picture = open_image(path, max_pixels)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
