"""What the runs retrieve, to be looked at: some queries, and each run's first five pictures for them.

Shape legend: Q queries, G gallery, K ranks.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import polars as pl
from nbclip.files.addresses import Location, location
from PIL import Image

from nbclip_trainer.data.decoding import open_image
from nbclip_trainer.evaluation.ranking import NOTHING, rank
from nbclip_trainer.report.compared import ComparedRun, Comparison

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
        words: the mark in words; for a query its gold CUIs.
        score: cosine with the query; None for the query itself.
    """

    image_id: str
    uri: str
    caption: str
    label: str
    credit: str
    mark: Mark
    words: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A query and the first pictures of each run, in the runs' order."""

    query: Shown
    answers: list[tuple[ComparedRun, list[Shown]]]


def class_gallery(comparison: Comparison, queries: int = 6, seed: int = 0) -> list[Answered]:
    """Queries drawn from as many classes as there are, one of each before a second of any.

    A picture of the query's modality and organ is a hit, one of its modality or its organ alone is half a hit. Ranked are
    the pictures whose modality and organ are both known, as for the modality-organ figures. A class whose pictures are all
    of one case is not asked for.

    Raises:
        BadImage: an image is gone from where the evaluation found it.
    """
    table = comparison.baseline.scored.images.with_row_index("row")
    scored = comparison.baseline.scored.evaluation.classes["modality_organ"].scored
    pool = table.filter("in_class_task", pl.col("modality_organ").is_not_null())
    answerable = pl.col("case").n_unique().over("modality_organ") > 1
    asked = pool.filter(pl.col("modality_organ").is_in(list(scored)) & answerable)
    chosen = _spread(asked, "modality_organ", queries, seed)
    return list(_answered(comparison, pool, chosen, _class_relevance))


def cui_gallery(comparison: Comparison, queries: int = 4, seed: int = 0) -> list[Answered]:
    """Queries drawn from the pictures with gold CUIs; a picture that shares half of the query's CUIs is a hit, any a half."""
    pool = comparison.baseline.scored.images.with_row_index("row").filter("in_cui_task")
    asked = pool.filter(pl.col("cui_list").list.len() > 1)
    return list(_answered(comparison, pool, _spread(asked, "modality", queries, seed), _cui_relevance))


def _spread(pool: pl.DataFrame, column: str, wanted: int, seed: int) -> list[int]:
    """Rows of the pool in a seeded order that goes round the classes."""
    generator = np.random.default_rng(seed)
    groups = [list(generator.permutation(group["row"])) for group in pool.partition_by(column, maintain_order=True)]
    generator.shuffle(groups)
    rounds = range(max(map(len, groups), default=0))
    return [int(group[turn]) for turn in rounds for group in groups if turn < len(group)][:wanted]


def _answered(
    comparison: Comparison, pool: pl.DataFrame, chosen: Sequence[int], relevance: Callable[[ImageRow, ImageRow], Relevance]
) -> Iterator[Answered]:
    if not chosen:
        return
    table = {row["row"]: row for row in pool.iter_rows(named=True)}
    shown = partial(_shown, max_pixels=comparison.baseline.config.data.max_pixels)
    rankings = [(run, list(_first(run, pool, chosen))) for run in comparison.runs]
    for place, query in enumerate(chosen):
        answers = [
            (run, [shown(table[row], relevance(table[query], table[row]), score) for row, score in found[place]])
            for run, found in rankings
        ]
        yield Answered(shown(table[query], ("query", ", ".join(table[query]["cui_list"]))), answers)


def _first(run: ComparedRun, pool: pl.DataFrame, chosen: Sequence[int]) -> Iterator[list[tuple[int, float]]]:
    """The first rows and cosines for each query."""
    rows, case = pool["row"].to_numpy(), run.scored.images["case"].to_numpy()
    image = run.scored.features["image"]
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
    return mark, f"shares {len(shared)} of {len(wanted)} CUIs" + (f": {', '.join(sorted(shared))}" if shared else "")


def _shown(row: ImageRow, relevance: Relevance, score: float | None = None, *, max_pixels: int) -> Shown:
    label = " · ".join(str(row[name]).replace("_", " ") for name in ("modality", "organ") if row[name])
    credit = ". ".join(str(row[name]) for name in ("source", "licence", "attribution") if row[name])
    return Shown(row["image_id"], _data_uri(location(row["file"]), max_pixels), row["caption"], label, credit, *relevance, score)


def _data_uri(path: Location, max_pixels: int) -> str:
    picture = open_image(path, max_pixels)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
