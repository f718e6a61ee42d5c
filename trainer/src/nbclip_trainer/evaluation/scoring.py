"""Rankings to figures per query: the class tasks, the CUI task and the pairs, in every direction that a ranker has.

Shape legend: N images, Q queries, G gallery, D feature dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.evaluation.cui import ConceptSets, concept_sets, cui_chance, cui_figures
from nbclip_trainer.evaluation.labelled import ScoredImages, class_sizes, class_text, codes
from nbclip_trainer.evaluation.pairs import pair_chance, pair_figures
from nbclip_trainer.evaluation.prompts import ensemble
from nbclip_trainer.evaluation.ranking import first_right, rank
from nbclip_trainer.evaluation.retrieval import chance_figures, class_figures, relevance
from nbclip_trainer.runs.results import (
    CUI_TASK,
    ENSEMBLE,
    LINKED_TASK,
    PAIR_TASK,
    QUERY_COLUMNS,
    Direction,
    Ranker,
    ScoringProtocol,
)

FeatureArray = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
QueryFigures = dict[str, npt.NDArray[np.float64]]
_NO_CASE = -1
QUERY_SCHEMA = {name: {"case": pl.Int64, "value": pl.Float64}.get(name, pl.String) for name in QUERY_COLUMNS}


@dataclass(frozen=True, slots=True)
class Candidate:
    """Features to be scored: images among each other, captions among each other, and both against each other in a joint space.

    Attributes:
        name: what the figures are of.
        image: features of images, L2-normalised.
        caption: those of their captions, None where there are none.
        joint: captions are in the space of the images.
        encode_texts: texts into the same space.
        with_chance: add the figures that chance has in each direction, under the name `chance`.
    """

    name: Ranker
    image: FeatureArray
    caption: FeatureArray | None = None
    joint: bool = True
    encode_texts: Callable[[Sequence[str]], FeatureArray] | None = None
    with_chance: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """One side asks, the other is ranked: features of the queries and of the gallery."""

    direction: Direction
    query: FeatureArray
    gallery: FeatureArray


def score(
    candidate: Candidate,
    images: ScoredImages,
    protocol: ScoringProtocol,
    *,
    ancestors: Mapping[str, Collection[str]] | None = None,
    device: str = "cpu",
) -> pl.DataFrame:
    """Every figure of every query: the columns of `results.QUERY_COLUMNS`, `value` NaN where there is none."""
    parts: list[pl.DataFrame] = []
    for task in CLASS_TASKS:
        parts += _class_task(task, candidate, images, protocol, device)
    linked = images.linked.cuis if images.linked else ()
    for task, cuis, rows in ((CUI_TASK, images.cuis, images.cui_rows), (LINKED_TASK, linked, images.linked_rows)):
        if len(rows):
            sets = concept_sets([cuis[row] for row in rows], ancestors)
            for match in _matches(candidate, rows):
                parts += _cui_task(task, rows, match, candidate, sets, images, protocol, device)
    if candidate.caption is not None and candidate.joint:
        parts += pair_task(candidate, images, protocol, device)
    return pl.concat(parts) if parts else pl.DataFrame(schema=QUERY_SCHEMA)


def scored_classes(images: ScoredImages, task: str, protocol: ScoringProtocol) -> list[str]:
    """The classes of a task that are large enough to be asked for, sorted."""
    return sorted(name for name, size in class_sizes(images, task).items() if size >= protocol.minimum_class_size)


def _matches(candidate: Candidate, rows: Rows) -> Iterator[Match]:
    image_ND = candidate.image[rows]
    yield Match("image→image", image_ND, image_ND)
    if candidate.caption is not None:
        caption_ND = candidate.caption[rows]
        yield Match("caption→caption", caption_ND, caption_ND)
        if candidate.joint:
            yield Match("caption→image", caption_ND, image_ND)
            yield Match("image→caption", image_ND, caption_ND)


def _class_task(
    task: str, candidate: Candidate, images: ScoredImages, protocol: ScoringProtocol, device: str
) -> Iterator[pl.DataFrame]:
    labels = images.frame[task]
    rows = images.class_rows[labels[images.class_rows].is_not_null().to_numpy()]
    names = scored_classes(images, task, protocol)
    if not names:
        return
    code_of = {name: code for code, name in enumerate(sorted(set(labels[rows])))}
    class_G = labels[rows].replace_strict(code_of, return_dtype=pl.Int64).to_numpy()
    asked = labels[rows].is_in(names).to_numpy()
    case_G, queries = images.case[rows], image_queries(images, rows[asked], task)
    for match in _matches(candidate, rows):
        query_ND = match.query[asked]
        found = _class_figures(query_ND, match.gallery, (case_G[asked], case_G), (class_G[asked], class_G), protocol, device)
        yield from long_frames(found, match.direction, task, queries, candidate)
    if candidate.encode_texts is not None:
        texts = [class_text(task, name) for name in names]
        asked_Q = np.array([code_of[name] for name in names])
        nobody_Q = np.full(len(names), _NO_CASE)
        text_QD, image_GD = candidate.encode_texts(texts), candidate.image[rows]
        found = _class_figures(text_QD, image_GD, (nobody_Q, case_G), (asked_Q, class_G), protocol, device)
        yield from long_frames(found, "text→image", task, _text_queries(texts), candidate)
        ensemble_QD = ensemble(texts, protocol.prompts, candidate.encode_texts)
        for metric, class_QD in (("accuracy", text_QD), (ENSEMBLE, ensemble_QD)):
            found = _zero_shot(metric, image_GD[asked], class_QD, class_G[asked], asked_Q)
            yield from long_frames(found, "image→text", task, queries, candidate)


def _class_figures(
    query_QD: FeatureArray,
    gallery_GD: FeatureArray,
    case: tuple[Rows, Rows],
    classes: tuple[Rows, Rows],
    protocol: ScoringProtocol,
    device: str,
) -> tuple[QueryFigures, QueryFigures]:
    """QueryFigures of the queries, and those of chance; `case` and `classes` are the queries' and the gallery's codes."""
    found, chance = [], []
    for part in rank(query_QD, gallery_GD, *case, device=device):
        relevant_qG = relevance(part.index, classes[0][part.rows], classes[1])
        found.append(class_figures(relevant_qG, protocol.class_ks))
        chance.append(chance_figures(relevant_qG.sum(axis=1), part.candidates, protocol.class_ks))
    return _joined(found), _joined(chance)


def _zero_shot(
    metric: str, image_QD: FeatureArray, text_CD: FeatureArray, class_Q: Rows, class_C: Rows
) -> tuple[QueryFigures, QueryFigures]:
    """Whether the nearest of the classes' texts is the image's own class, 1 or 0, and how often it is so by chance.

    The mean over classes of both is the balanced accuracy.
    """
    right_Q = class_C[(image_QD @ text_CD.T).argmax(axis=1)] == class_Q
    return {metric: right_Q.astype(np.float64)}, {metric: np.full(len(class_Q), 1 / len(class_C))}


def _cui_task(
    task: str,
    rows: Rows,
    match: Match,
    candidate: Candidate,
    sets: ConceptSets,
    images: ScoredImages,
    protocol: ScoringProtocol,
    device: str,
) -> Iterator[pl.DataFrame]:
    case_G = images.case[rows]
    found, chance = [], []
    for part in rank(match.query, match.gallery, case_G, case_G, depth=max(protocol.cui_ks), device=device):
        outside_qG = case_G[part.rows][:, None] != case_G[None, :]
        query_qV = sets.member[part.rows]
        found.append(cui_figures(query_qV, sets, part.index, outside_qG, protocol.cui_ks))
        if candidate.with_chance:
            chance.append(cui_chance(query_qV, sets, outside_qG, protocol.cui_ks))
    queries = image_queries(images, rows, None)
    yield from long_frames((_joined(found), _joined(chance)), match.direction, task, queries, candidate)


def pair_task(candidate: Candidate, images: ScoredImages, protocol: ScoringProtocol, device: str) -> Iterator[pl.DataFrame]:
    """Figures of `pairs` of the class split's captions, from image to caption and back: as `score` returns them."""
    rows = images.class_rows
    key_G = images.caption_key[rows]
    _, code_G, size = np.unique(key_G, return_inverse=True, return_counts=True)
    chance = pair_chance(size[code_G], len(rows), protocol.recall_ks)
    queries = image_queries(images, rows, None)
    for match in _matches(candidate, rows):
        if match.direction in {"image→caption", "caption→image"}:
            rank_Q = first_right(match.query, match.gallery, key_G, key_G, device=device)
            yield from long_frames(
                (pair_figures(rank_Q, protocol.recall_ks), chance), match.direction, PAIR_TASK, queries, candidate
            )


def _joined(parts: Sequence[QueryFigures]) -> QueryFigures:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def image_queries(images: ScoredImages, rows: Rows, stratum: str | None) -> pl.DataFrame:
    """Images as queries; `stratum` is the column of their class, None where there is one for all."""
    frame: pl.DataFrame = images.frame[rows.tolist()]
    return frame.select(
        pl.col("image_id").alias("query"),
        (pl.lit("") if stratum is None else pl.col(stratum)).alias("stratum"),
        pl.Series("case", images.case[rows]),
        pl.col("caption_source").cast(pl.String),
        pl.col("source").cast(pl.String),
    )


def _text_queries(texts: Sequence[str]) -> pl.DataFrame:
    """Class texts: one stratum, since one query a class leaves nothing to resample within a class."""
    none = pl.lit(None, pl.String)
    return pl.DataFrame({"query": texts}).select(
        "query",
        pl.lit("").alias("stratum"),
        pl.Series("case", codes(texts)),
        none.alias("caption_source"),
        none.alias("source"),
    )


def long_frames(
    figures: tuple[QueryFigures, QueryFigures], direction: Direction, task: str, queries: pl.DataFrame, candidate: Candidate
) -> Iterator[pl.DataFrame]:
    """The figures of the candidate, and of chance where wanted, one row a query and metric."""
    named: list[tuple[Ranker, QueryFigures]] = [(candidate.name, figures[0])]
    if candidate.with_chance:
        named.append(("chance", figures[1]))
    for ranker, values in named:
        wide = queries.with_columns(*(pl.Series(name, value) for name, value in values.items()))
        long = wide.unpivot(index=queries.columns, variable_name="metric", value_name="value")
        constants = {"ranker": ranker, "direction": direction, "task": task}
        yield long.with_columns(pl.lit(value).alias(name) for name, value in constants.items()).select(QUERY_COLUMNS)
