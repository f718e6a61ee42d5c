"""scispacy's KnowledgeBase and CandidateGenerator over a compiled vocabulary, and over the linkers that scispacy publishes.

scispacy builds no index of its own on Python 3.11 or newer: its `create_tfidf_ann_index` stores float16 sparse matrices, which
scipy dropped in 1.11. Here the same vectors are stored as float32 (`trigrams.py`) and searched exactly (`cosines.py`), where
scispacy has an approximate HNSW graph.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
import sys
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nbclip.errors import BrokenArtefact, InvalidInput
from scipy import sparse

from kg_service.errors import MissingExtra
from kg_service.linking.scispacy.cosines import nearest
from kg_service.linking.scispacy.trigrams import TrigramIndex, ensure_trigram_index
from kg_service.vocabulary.vocabulary import Vocabulary


class Entities(Mapping[str, Any]):
    """`cui_to_entity` of a KnowledgeBase, read from the vocabulary when it is asked for; there are no definitions."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._entity = import_scispacy("linking_utils").Entity

    def __getitem__(self, cui: str) -> Any:
        if cui not in self._vocabulary:
            raise KeyError(cui)
        first, *others = self._vocabulary.names(cui)
        return self._entity(cui, first, others, list(self._vocabulary.semantic_types(cui)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._vocabulary)

    def __len__(self) -> int:
        return len(self._vocabulary)


class AliasTexts(Sequence[str]):
    """The aliases' texts, in the order of the index."""

    def __init__(self, vocabulary: Vocabulary, index: TrigramIndex) -> None:
        self._vocabulary, self._index = vocabulary, index

    def __getitem__(self, alias: Any) -> Any:
        if isinstance(alias, slice):
            return [self[position] for position in range(*alias.indices(len(self)))]
        return self._vocabulary.name_text(self._index.names_of(range(len(self))[alias])[0])

    def __len__(self) -> int:
        return len(self._index)


class AliasConcepts(Mapping[str, set[str]]):
    """`alias_to_cuis` of a KnowledgeBase, looked up in the index."""

    def __init__(self, vocabulary: Vocabulary, index: TrigramIndex) -> None:
        self._vocabulary, self._index = vocabulary, index
        self._texts = AliasTexts(vocabulary, index)

    def __getitem__(self, text: str) -> set[str]:
        alias = self._index.find(text)
        if alias is None or self._texts[alias] != text:
            raise KeyError(text)
        concepts = self._vocabulary.name_concept[self._index.names_of(alias)]
        return {self._vocabulary.cui(int(concept)) for concept in concepts}

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._index)


@dataclass(frozen=True, slots=True)
class ExactGenerator:
    """What scispacy calls a CandidateGenerator, with an exact search: takes its place in `EntityLinker(candidate_generator=…)`.

    Attributes:
        kb: a `scispacy.linking_utils.KnowledgeBase`.
        vectorizer: the `TfidfVectorizer` of the aliases.
        aliases: their texts, [A].
        weights_FA: their vectors, float32 CSR, [F, A].
        floor: aliases less similar are left out, [0, 1]; the higher, the faster.
    """

    kb: Any
    vectorizer: Any
    aliases: Sequence[str]
    weights_FA: sparse.csr_array  # noqa: N815
    floor: float = 0.0

    def __call__(self, mention_texts: list[str], k: int) -> list[list[Any]]:
        """Per text a `MentionCandidate` for each concept that one of the `k` nearest aliases names, ordered by concept.

        A candidate's aliases are ordered as they are near; ties at the k-th go to the alias that the vocabulary has first.
        """
        if not mention_texts:
            return []
        queries_QF = sparse.csr_array(self.vectorizer.transform(mention_texts))
        return [self._candidates(*found) for found in nearest(self.weights_FA, queries_QF, k, self.floor)]

    def _candidates(self, aliases: npt.NDArray[np.int32], cosines: npt.NDArray[np.float32]) -> list[Any]:
        candidate = import_scispacy("candidate_generation").MentionCandidate
        texts: defaultdict[str, list[str]] = defaultdict(list)
        similarities: defaultdict[str, list[float]] = defaultdict(list)
        for alias, cosine in zip(aliases.tolist(), cosines.tolist(), strict=True):
            text = self.aliases[alias]
            for concept in self.kb.alias_to_cuis[text]:
                texts[concept].append(text)
                similarities[concept].append(cosine)
        return [candidate(concept, texts[concept], similarities[concept]) for concept in sorted(texts)]


def build_knowledge_base(vocabulary: Vocabulary, index: TrigramIndex) -> Any:
    """A `scispacy.linking_utils.KnowledgeBase` of the vocabulary's concepts, names and semantic types; holds no copy of them."""
    knowledge_base = import_scispacy("linking_utils").KnowledgeBase(())
    knowledge_base.cui_to_entity = Entities(vocabulary)
    knowledge_base.alias_to_cuis = AliasConcepts(vocabulary, index)
    return knowledge_base


def build_candidate_generator(vocabulary: Vocabulary, floor: float = 0.0) -> ExactGenerator:
    """The generator over the index beside the vocabulary, which is compiled first if it is not there yet."""
    index = ensure_trigram_index(vocabulary)
    knowledge_base = build_knowledge_base(vocabulary, index)
    return ExactGenerator(knowledge_base, index.vectorizer(), AliasTexts(vocabulary, index), index.weights_FA, floor)


def open_published_generator(name: str, floor: float = 0.0) -> ExactGenerator:
    """The generator over a knowledge base that scispacy publishes, from scispacy's cache on this machine; asks no server.

    Its files are read as scispacy's own loader reads them, but for two things: the vectors are searched exactly, and the IDF is
    taken from where scikit-learn before 1.5 kept it. Newer ones ignore it there, and make vectors without IDF of all mentions.

    Raises:
        InvalidInput: scispacy publishes none of this name, or it is not in the cache.
        BrokenArtefact: a file of it is damaged.
    """
    generation = import_scispacy("candidate_generation")
    if name not in generation.DEFAULT_PATHS:
        raise InvalidInput(f"scispacy publishes no linker {name!r}", hint=f"use one of {', '.join(generation.DEFAULT_PATHS)}")
    paths = generation.DEFAULT_PATHS[name]
    kind = generation.DEFAULT_KNOWLEDGE_BASES[name]
    source = inspect.signature(kind).parameters["file_path"].default
    files = [_cached(url, name) for url in (paths.tfidf_vectorizer, paths.tfidf_vectors, paths.concept_aliases_list, source)]
    try:
        vectorizer, vectors_AF = _load_vectorizer(files[0]), _load_vectors(files[1])
        aliases = json.loads(files[2].read_text(encoding="utf-8"))
        knowledge_base = import_scispacy("linking_utils").KnowledgeBase(str(files[3]))
    except (OSError, ValueError, KeyError, EOFError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise BrokenArtefact(
            f"scispacy's linker {name!r} can't be read: {error}", hint=f"remove it from {files[0].parent}"
        ) from error
    if vectors_AF.shape != (len(aliases), len(vectorizer.vocabulary_)):
        raise BrokenArtefact(f"the files of scispacy's linker {name!r} do not belong together", hint="fetch it again")
    return ExactGenerator(knowledge_base, vectorizer, aliases, sparse.csr_array(vectors_AF.T), floor)


def _cached(url: str, name: str) -> Path:
    """The newest copy of `url` in scispacy's cache. Its own `cached_path` asks the server even for what it has."""
    cache = import_scispacy("file_cache")
    digest, last_part = cache.url_to_filename(url).split(".", 1)
    copies = sorted(Path(cache.DATASET_CACHE).glob(f"{digest}*.{last_part}"), key=lambda path: path.stat().st_mtime_ns)
    if not copies:
        fetch = f"from scispacy.candidate_generation import CandidateGenerator as G; G(name={name!r})"
        raise InvalidInput(
            f"scispacy's linker {name!r} is not in {cache.DATASET_CACHE}: no copy of {url}",
            hint=f'fetch it where there is a network: python -c "{fetch}"; SCISPACY_CACHE names another folder',
        )
    return copies[-1]


def _load_vectorizer(path: Path) -> Any:
    import joblib

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Trying to unpickle estimator")
        vectorizer = joblib.load(path)
    kept = vars(vectorizer._tfidf)
    if "_idf_diag" in kept and not hasattr(vectorizer._tfidf, "idf_"):
        vectorizer._tfidf.idf_ = kept["_idf_diag"].diagonal()
    return vectorizer


def _load_vectors(path: Path) -> sparse.csr_array:
    """Float32 CSR, [A, F], rows of length 1, which they have lost as float16."""
    with np.load(path, allow_pickle=False) as file:
        rows = (file["data"].astype(np.float32), file["indices"], file["indptr"])
        vectors_AF = sparse.csr_array(rows, shape=tuple(file["shape"]))
    row = np.repeat(np.arange(vectors_AF.shape[0]), np.diff(vectors_AF.indptr))
    length = np.sqrt(np.bincount(row, vectors_AF.data.astype(np.float64) ** 2, minlength=vectors_AF.shape[0]))
    vectors_AF.data /= np.maximum(length[row], np.finfo(np.float32).tiny).astype(np.float32)
    return vectors_AF


def import_scispacy(module: str) -> Any:
    """Imports `scispacy.<module>`; Python warns of escapes in pysbd, which it brings, when it compiles that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="invalid escape sequence")
        try:
            return importlib.import_module(f"scispacy.{module}")
        except ImportError as error:
            newer = "it has no release for this Python: take 3.11 or 3.12, or the dictionary linker"
            hint = newer if sys.version_info >= (3, 13) else ""
            raise MissingExtra("scispacy", "the scispacy linker", hint) from error
