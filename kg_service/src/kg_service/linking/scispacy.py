"""The scispacy linker: scispacy's own EntityLinker and AbbreviationDetector over a knowledge base made of the vocabulary.

scispacy's `create_tfidf_ann_index` runs on Python 3.10 and older only (it stores float16 sparse matrices, which scipy dropped in
1.11), so its index is made here: the same character 3-gram TF-IDF, searched exactly instead of approximately. It is built in
memory when the linker is opened, and holds one vector a distinct name.

Mentions come from a spaCy pipeline with a named-entity recogniser, such as scispacy's `en_core_sci_sm`, where the user names
one. Without one a blank English pipeline has none: runs of up to five words that nearly equal a name stand in for it, which
finds little beyond literal names and is slow.

Shape legend: Q queries, A aliases, F 3-grams.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from nbclip_shared.errors import InvalidInput
from scipy import sparse

from kg_service.errors import MissingExtra
from kg_service.linking.assertion import assess
from kg_service.linking.model import LinkCandidate, LinkedCaption, Mention
from kg_service.linking.settings import LinkerSettings
from kg_service.vocabulary.vocabulary import Vocabulary

_SURROGATE = re.compile("[\ud800-\udfff]")
_NEIGHBOURS = 30
_MAX_WORDS = 5
_NEARLY_EQUAL = 0.9
_SMALL_VOCABULARY = 10_000
_QUERY_ROWS = 256


@dataclass(frozen=True, slots=True)
class ExactIndex:
    """Stands where scispacy expects an nmslib index: nearest aliases by cosine, found exactly.

    Attributes:
        vectors_FA: L2-normalised TF-IDF of the aliases, float32 CSR, [F, A].
    """

    vectors_FA: sparse.csr_array  # noqa: N815

    def knnQueryBatch(self, vectors: Any, k: int) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:  # noqa: N802
        """Per query the `k` nearest aliases, nearest first, ties by position, with distances 1 - cosine in [0, 1]."""
        queries_QF = sparse.csr_array(vectors)
        found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = []
        for start in range(0, queries_QF.shape[0], _QUERY_ROWS):
            cosine_QA = sparse.csr_array(queries_QF[start : start + _QUERY_ROWS] @ self.vectors_FA)
            found += (_nearest(cosine_QA, row, k) for row in range(cosine_QA.shape[0]))
        return found


def _nearest(cosine_QA: sparse.csr_array, row: int, k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    part = slice(*cosine_QA.indptr[row : row + 2])
    alias, cosine = cosine_QA.indices[part].astype(np.int64), cosine_QA.data[part].astype(np.float32)
    if len(cosine) > k:
        near = cosine >= np.partition(cosine, -k)[-k]
        alias, cosine = alias[near], cosine[near]
    order = np.lexsort((alias, -cosine))[:k]
    return alias[order], np.clip(1 - cosine[order], 0, 1)


def build_knowledge_base(vocabulary: Vocabulary) -> Any:
    """A `scispacy.linking_utils.KnowledgeBase` with the vocabulary's concepts, names and semantic types."""
    kb = _import_scispacy("linking_utils")

    def entities() -> Iterator[Any]:
        for cui in vocabulary:
            first, *aliases = vocabulary.names(cui)
            yield kb.Entity(cui, first, aliases, list(vocabulary.semantic_types(cui)))

    return kb.KnowledgeBase(entities())


def build_candidate_generator(knowledge_base: Any) -> Any:
    """A `scispacy.candidate_generation.CandidateGenerator` with scispacy's TF-IDF parameters and an exact index.

    `min_df` is 1 instead of 10 below 10,000 aliases, where 10 would leave too few 3-grams.
    """
    generation = _import_scispacy("candidate_generation")
    aliases = sorted(knowledge_base.alias_to_cuis)
    min_df = 10 if len(aliases) >= _SMALL_VOCABULARY else 1
    vectorizer = generation.TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), min_df=min_df, dtype=np.float32)
    vectors_FA = sparse.csr_array(vectorizer.fit_transform(aliases).T)
    return generation.CandidateGenerator(ExactIndex(vectors_FA), vectorizer, aliases, knowledge_base)


class ScispacyLinker:
    """Links with scispacy's components; assertion by the same rules as the dictionary linker."""

    def __init__(self, vocabulary: Vocabulary, settings: LinkerSettings) -> None:
        self._vocabulary = vocabulary
        self._settings = settings
        self._generator = build_candidate_generator(build_knowledge_base(vocabulary))
        self._pipeline = _build_pipeline(settings.model)
        self._lock = Lock()
        self._entity_linker = _import_scispacy("linking").EntityLinker(
            candidate_generator=self._generator,
            k=_NEIGHBOURS,
            threshold=settings.min_score,
            filter_for_definitions=False,
            max_entities_per_mention=len(vocabulary),
        )

    @property
    def name(self) -> str:
        """`scispacy-<version>-<pipeline>`."""
        return f"scispacy-{metadata.version('scispacy')}-{self._settings.model or 'blank'}"

    def link(self, captions: Sequence[str]) -> list[LinkedCaption]:
        """One LinkedCaption a caption, in order; a caption's mentions do not depend on its batch."""
        # The detector keeps the caption's abbreviations in its matcher while it works.
        with self._lock:
            return [self._link_one(caption) for caption in captions]

    def _link_one(self, caption: str) -> LinkedCaption:
        # spaCy refuses lone surrogates; a stand-in of the same length keeps the spans.
        document = self._pipeline(_SURROGATE.sub("\ufffd", caption))
        if not self._settings.model:
            document.ents = [
                document.char_span(span.start_char, span.end_char, label="ENTITY") for span in self._name_like(document)
            ]
        spans = [(span, self._ranked(span)) for span in self._entity_linker(document).ents]
        linked = [(span, ranked) for span, ranked in spans if ranked]
        assertions = assess(caption, [(span.start_char, span.end_char) for span, _ in linked])
        mentions = (
            Mention(
                best.cui, best.name, span.text, span.start_char, span.end_char, best.score, _rule(span), assertion, tuple(others)
            )
            for (span, (best, *others)), assertion in zip(linked, assertions, strict=True)
        )
        return LinkedCaption(caption, tuple(sorted(mentions, key=lambda mention: (mention.start, -mention.end, mention.cui))))

    def _ranked(self, span: Any) -> list[LinkCandidate]:
        """The span's concepts: most similar first, then the one the vocabulary knows most of, then the lower CUI."""
        wanted = set(self._settings.semantic_types)
        rows: list[tuple[float, int, str]] = []
        for cui, similarity in span._.kb_ents:
            index = self._vocabulary.index(cui)
            if not wanted or not wanted.isdisjoint(self._vocabulary.semantic_types_at(index)):
                score = round(min(max(float(similarity), 0.0), 1.0), 4)
                rows.append((-score, -self._vocabulary.evidence_at(index), cui))
        rows = sorted(rows)[: self._settings.max_candidates + 1]
        return [LinkCandidate(cui, self._vocabulary.preferred_name(cui), -negative) for negative, _, cui in rows]

    def _name_like(self, document: Any) -> list[Any]:
        """Spans that stand in for entities: defined abbreviations, and the runs of words that most nearly equal a name."""
        spans = list(_word_runs(document))
        nearest = self._generator([span.text for span in spans], 1)
        similar = [(_similarity(found), span) for found, span in zip(nearest, spans, strict=True)]
        similar = [(similarity, span) for similarity, span in similar if similarity >= _NEARLY_EQUAL]
        similar.sort(key=lambda pair: (-pair[0], pair[1].start - pair[1].end, pair[1].start))
        return _without_overlaps([*document._.abbreviations, *(span for _, span in similar)])


def _similarity(found: list[Any]) -> float:
    return round(max((max(candidate.similarities) for candidate in found), default=0.0), 3)


def _rule(span: Any) -> str:
    return "abbreviation" if span._.long_form is not None else "similarity"


def _word_runs(document: Any) -> Iterator[Any]:
    for sentence in document.sents:
        for start in range(sentence.start, sentence.end):
            for end in range(start + 1, min(start + _MAX_WORDS, sentence.end) + 1):
                if document[end - 1].is_bracket:
                    break
                if _is_content(document[start]) and _is_content(document[end - 1]):
                    yield document[start:end]


def _is_content(token: Any) -> bool:
    return not (token.is_stop or token.is_punct or token.is_space)


def _without_overlaps(spans: Iterable[Any]) -> list[Any]:
    """The spans in order, without those that touch an earlier one."""
    taken: set[int] = set()
    chosen: list[Any] = []
    for span in spans:
        words = range(span.start, span.end)
        if taken.isdisjoint(words):
            taken.update(words)
            chosen.append(span)
    return chosen


def _build_pipeline(model: str) -> Any:
    _import_scispacy("abbreviation")
    import spacy

    if model:
        try:
            pipeline = spacy.load(model)
        except OSError as error:
            raise InvalidInput(f"spaCy has no pipeline {model!r}", hint="install it, or give its folder") from error
    else:
        pipeline = spacy.blank("en")
        pipeline.add_pipe("sentencizer")
    if "abbreviation_detector" not in pipeline.pipe_names:
        pipeline.add_pipe("abbreviation_detector")
    # The detector runs an empty matcher on captions that define nothing, and spaCy warns of empty matchers: this one is never
    # empty, and never matches, for no token holds a space between letters.
    detector: Any = pipeline.get_pipe("abbreviation_detector")
    detector.global_matcher.add("never", [[{"ORTH": "never a token"}]])
    return pipeline


def _import_scispacy(module: str) -> Any:
    """Imports `scispacy.<module>`; Python warns of escapes in pysbd, which it brings, when it compiles that."""
    import importlib

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="invalid escape sequence")
        try:
            return importlib.import_module(f"scispacy.{module}")
        except ImportError as error:
            raise MissingExtra("scispacy", "the scispacy linker") from error
