"""What labelled texts teach: how often the words of a run mean which concept.

From texts with spans, the share of a run's occurrences that carry each concept. From texts with concepts alone (such as ROCO's
captions), a noisy-or: each concept of a text is brought by one of its runs, independently, each with its own probability; fitted
by expectation maximisation, a posteriori. Both are smoothed towards what the unfitted linker makes of the run, so that one
occurrence does not outweigh a name. A run that labelled texts have is read as they read it, or not at all; others are read by
names.

A fitted prior is a folder:

    keys      uint64 [K]      lemma hashes of runs (`tokens.py`), ascending: `studies` is `study`, but not `studied`
    seen      uint8 [2^b / 8] their bit field
    rows      int32 [K + 1]   row pointers into the two below
    cuis      int32 [E]       CUI numbers (`Vocabulary.number`), most probable first
    shares    float32 [E]     probability of each

Shape legend: D texts, R runs, K distinct keys, E pairs of key and concept, T triples of text, key and concept of the text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from nbclip.errors import BrokenArtefact

from kg_service.linking.dictionary.candidates import Bools, Candidates, Floats, code_of, runs
from kg_service.linking.dictionary.name_index import bit_field
from kg_service.linking.dictionary.tokens import LEMMAS, LETTERS, Ints, Tokens, Uint64s
from kg_service.storage.arrays import save_arrays
from kg_service.storage.artefact import open_artefact, write_manifest, writing_artefact
from kg_service.storage.csr import ranges
from kg_service.vocabulary.vocabulary import Vocabulary

KIND, FORMAT = "linking-prior", 4
_HINT = "kg-service linker fit LABELLED, or unset KG_LINKER_PRIOR"
_ID_DIGITS = 8
_BATCH = 256
_STEPS = 25
_STRENGTH, _STRENGTH_OF_TEXTS, _STRENGTH_UNNAMED = 1.0, 2.0, 4.0
"""How many occurrences the unfitted linker's opinion is worth: beside spans; beside texts without; there, that words don't bring
what is no name of theirs."""
_SURE, _EXACT = 0.75, 0.95
_TRUST_OF_EXACT, _TRUST, _DISTRUST = 0.65, 0.5, 0.1
"""How often an unfitted reading is right: one by an exact name (so that only two texts without the label refute it), a sure one
(about half the time), another."""
_LEAST_SHARE = 0.05
ODDS = 4.5
"""Odds are multiplied by this to make a score, unless another factor does better (`learning.py`): the default threshold of 0.75
is then a probability of 0.4."""


class LabelledText(Protocol):
    """A text whose concepts are known; `spans` (start, end, concepts that are right there) may be empty."""

    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def spans(self) -> Sequence[tuple[int, int, frozenset[str]]]: ...  # noqa: D102
    @property
    def cuis(self) -> frozenset[str]: ...  # noqa: D102


class TextReader(Protocol):
    """What a fit needs of a linker: its words, and what it makes of them by itself."""

    def read(self, texts: Sequence[str], min_score: float) -> tuple[Tokens, Candidates]:
        """The words of the texts, and the candidates of all runs that are names."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Whose concepts it links."""


@dataclass(frozen=True, slots=True)
class Prior:
    """The arrays above.

    Attributes:
        several: fitted from texts without spans, so that a run can bring several concepts at once.
        flat: fitted from spans of which none lies inside another: the labels mean the longest name alone.
        odds: factor of the odds in a score.
        id: first 8 hexadecimal digits of the SHA-256 of the saved prior's manifest; empty before it is saved.
    """

    keys: Uint64s
    seen: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int32]
    cuis: npt.NDArray[np.int32]
    shares: npt.NDArray[np.float32]
    several: bool
    flat: bool
    odds: float = ODDS
    id: str = ""


_LABEL = np.dtype([("key", np.uint64), ("cui", np.int64)])


def fit_prior(documents: Sequence[LabelledText], linker: TextReader) -> Prior:
    """Learns from `documents`, all with spans or all without. The same documents in the same order give the same prior."""
    several = not any(document.spans for document in documents)
    batches = [documents[start : start + _BATCH] for start in range(0, len(documents), _BATCH)]
    labels = np.concatenate([np.zeros(0, _LABEL), *(_span_labels(batch, linker) for batch in batches)])
    labelled = np.unique(labels["key"])
    parts = [_occurrences(batch, linker, labelled, several) for batch in batches]
    text, key, guess, score = (np.concatenate(column) for column in zip(*parts, strict=True))
    text = text + np.repeat(np.arange(len(parts)) * _BATCH, [len(part[0]) for part in parts])
    keys, at = np.unique(key, return_inverse=True)
    opinions = _opinions(at, guess, score, several)
    if several:
        counts, learned = _noisy_or(text, at, _text_labels(documents, linker.vocabulary), opinions)
    else:
        counts = np.bincount(at, minlength=len(keys)).astype(float)
        learned = np.searchsorted(keys, labels["key"]), labels["cui"], np.ones(len(labels))
    return _smooth(keys, counts, learned, opinions, several, _are_flat(documents))


def _span_labels(documents: Sequence[LabelledText], linker: TextReader) -> npt.NDArray[Any]:
    """Key and CUI number of each labelled run."""
    tokens, _ = linker.read([document.text for document in documents], 1.0)
    spans = list(_labelled_runs(documents, tokens))
    first, end = (np.array([span[i] for span in spans], np.int64) for i in (0, 1))
    keys = tokens.run_hash(LEMMAS, first, end)
    pairs = [(key, linker.vocabulary.number(cui)) for key, (*_, cuis) in zip(keys, spans, strict=True) for cui in sorted(cuis)]
    return np.array(pairs, _LABEL)


def _occurrences(
    documents: Sequence[LabelledText], linker: TextReader, labelled: Uint64s, several: bool
) -> tuple[Ints, Uint64s, Ints, Floats]:
    """Runs that are names, labelled somewhere, or (without spans) single words: text, key, the unfitted CUI and its score."""
    tokens, found = linker.read([document.text for document in documents], 0.0)
    first, end = runs(tokens)
    code = code_of(first, end)
    order = np.argsort(code)
    first, end, code = first[order], end[order], code[order]
    key = tokens.run_hash(LEMMAS, first, end)
    guess, score = np.full(len(code), -1), np.zeros(len(code))
    at = np.searchsorted(code, code_of(found.first, found.end))
    guess[at] = linker.vocabulary.concept_cui[found.concept[found.rows[:-1]]]
    score[at] = found.score[found.rows[:-1]]
    kept = (guess >= 0) | np.isin(key, labelled)
    if several:
        kept |= (end - first == 1) & (tokens.run_count(LETTERS, first, end) > 1)
    else:
        kept &= ~_inside(first, end, [span[:2] for span in _labelled_runs(documents, tokens)], set(code[guess >= 0].tolist()))
    text = np.searchsorted(tokens.bounds, first[kept], side="right") - 1
    return text, key[kept], guess[kept], score[kept]


def _labelled_runs(documents: Sequence[LabelledText], tokens: Tokens) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Labelled spans as runs of words: first, end, concepts; those that do not end with words are left out."""
    starts, ends, bounds = tokens.starts.tolist(), tokens.ends.tolist(), tokens.bounds.tolist()
    for i, document in enumerate(documents):
        words = range(bounds[i], bounds[i + 1])
        first_at, last_at = {starts[word]: word for word in words}, {ends[word]: word for word in words}
        for start, end, cuis in document.spans:
            if start in first_at and end in last_at and cuis:
                yield first_at[start], last_at[end] + 1, cuis


def _inside(first: Ints, end: Ints, labelled: Sequence[tuple[int, int]], named: set[int]) -> Bools:
    """Which runs lie in a longer labelled one that has a name itself: whether they were meant is not known."""
    inside = np.zeros(len(first), np.bool_)
    for start, stop in labelled:
        if start * 16 + stop - start in named:
            low, high = np.searchsorted(first, (start, stop))
            inside[low:high] |= (end[low:high] <= stop) & (end[low:high] - first[low:high] < stop - start)
    return inside


def _are_flat(documents: Sequence[LabelledText]) -> bool:
    """Whether there are labelled spans, and none lies inside another."""
    spans = [sorted({(start, -end) for start, end, _ in document.spans}) for document in documents]
    nested = any(-later[1] <= -earlier[1] for each in spans for earlier, later in pairwise(each))
    return any(spans) and not nested


def _text_labels(documents: Sequence[LabelledText], vocabulary: Vocabulary) -> tuple[Ints, Ints]:
    """Text and CUI number of each concept of a text."""
    pairs = [(i, vocabulary.number(cui)) for i, document in enumerate(documents) for cui in sorted(document.cuis)]
    texts, cuis = np.array(pairs, np.int64).reshape(-1, 2).T
    return texts, cuis


@dataclass(frozen=True, slots=True)
class _Opinions:
    """What the unfitted linker makes of each key: CUI number (-1: nothing), and that it says so, in occurrences, [K]."""

    cui: Ints
    right: Floats
    strength: Floats

    def of(self, key: Ints, cui: Ints) -> tuple[Floats, Floats]:
        """For pairs of key (position) and CUI number: occurrences that speak for it before any is seen, and all of them, [E]."""
        own = self.cui[key] == cui
        return np.where(own, self.right[key], 0), np.where(own, self.strength[key], _STRENGTH_UNNAMED)


def _opinions(run_key: Ints, guess: Ints, score: Floats, several: bool) -> _Opinions:
    """Of each key (position), from the best reading of any of its occurrences."""
    order = np.lexsort((guess, score, run_key))
    last = order[np.flatnonzero(np.diff(run_key[order], append=-1))]
    cui, score = guess[last], score[last]
    strength = np.full(len(cui), _STRENGTH_OF_TEXTS if several else _STRENGTH)
    trust = np.select([score >= _EXACT, score >= _SURE], [_TRUST_OF_EXACT if several else _TRUST, _TRUST], _DISTRUST)
    return _Opinions(cui, trust * strength, strength)


def _noisy_or(
    run_text: Ints, run_key: Ints, labels: tuple[Ints, Ints], opinions: _Opinions
) -> tuple[Floats, tuple[Ints, Ints, Floats]]:
    """In how many texts each key is; and key (position), CUI number and in how many texts it brings that, a posteriori.

    The opinions are in each step, so that a text's label goes to its own name there rather than to the words beside it.
    """
    label_text, label_cui = labels
    key, text = np.unique(np.stack((run_key, run_text)), axis=1)
    counts = np.bincount(key).astype(float)
    # One triple for each label of a text and each key of the same text.
    order = np.argsort(text, kind="stable")
    key, text = key[order], text[order]
    low, high = np.searchsorted(text, label_text), np.searchsorted(text, label_text, side="right")
    label = np.repeat(np.arange(len(label_text)), high - low)
    at = ranges(low, high - low)
    cuis, cui = np.unique(label_cui, return_inverse=True)
    pairs, pair = np.unique(key[at] * len(cuis) + cui[label], return_inverse=True)
    pair_key, pair_cui = pairs // len(cuis), cuis[pairs % len(cuis)]
    before, strength = opinions.of(pair_key, pair_cui)
    most = counts[pair_key] + strength
    brought: Floats = np.bincount(pair).astype(np.float64)
    for _ in range(_STEPS):
        share = np.minimum((brought + before) / most, 1 - 1e-9)
        unsaid = np.bincount(label, np.log1p(-share)[pair], len(label_text))
        brought[:] = np.bincount(pair, share[pair] / np.maximum(-np.expm1(unsaid), 1e-12)[label])
    return counts, (pair_key, pair_cui, brought)


def _smooth(
    keys: Uint64s, counts: Floats, learned: tuple[Ints, Ints, Floats], opinions: _Opinions, several: bool, flat: bool
) -> Prior:
    """Adds a few occurrences that go as the unfitted linker has it, and leaves out what is hardly ever meant."""
    named = np.flatnonzero(opinions.cui >= 0)
    key = np.concatenate((learned[0], named))
    cui = np.concatenate((learned[1], opinions.cui[named]))
    pairs, pair = np.unique(np.stack((key, cui)), axis=1, return_inverse=True)
    key, cui = pairs
    before, strength = opinions.of(key, cui) if several else (opinions.of(key, cui)[0], _STRENGTH)
    brought = np.bincount(pair.ravel(), np.concatenate((learned[2], np.zeros(len(named)))))
    share = (brought + before) / (counts[key] + strength)
    order = np.lexsort((cui, -share, key))
    order = order[share[order] >= _LEAST_SHARE]
    rows = np.searchsorted(key[order], np.arange(len(keys) + 1)).astype(np.int32)
    return Prior(keys, bit_field(keys), rows, cui[order].astype(np.int32), share[order].astype(np.float32), several, flat)


def save_prior(prior: Prior, directory: Path, vocabulary: Vocabulary, *, linker: str, captions: int) -> None:
    """Writes `prior` as a folder that `open_prior` maps into memory.

    Args:
        prior: what was fitted.
        directory: where it is to be; a prior that is there is replaced.
        vocabulary: of the linker that it was fitted with.
        linker: name of that linker: words are hashed as its version does it.
        captions: how many it was fitted on.
    """
    fitted = {"vocabulary": vocabulary.sha256, "linker": linker, "captions": captions}
    with writing_artefact(directory) as folder:
        save_arrays(folder, {name: getattr(prior, name) for name in _ARRAYS})
        learned = {"several": prior.several, "flat": prior.flat, "odds": prior.odds}
        write_manifest(folder, {"kind": KIND, "format": FORMAT, **fitted, **learned})


def prior_folder(vocabulary_dir: Path) -> Path:
    """Where a fitted prior lies unless another place is named: `<vocabulary>.prior`, beside it."""
    return vocabulary_dir.with_name(f"{vocabulary_dir.name}.prior")


def open_prior(directory: Path, vocabulary: Vocabulary, linker: str, alike: Collection[str] = ()) -> Prior:
    """Maps a prior into memory that was fitted with `linker` or one of those `alike`.

    Raises:
        NotFound: there is none.
        BrokenArtefact: it is damaged, of another format, or fitted for another vocabulary or version of the linker.
    """
    artefact = open_artefact(directory, KIND, FORMAT, hint=_HINT)
    manifest = artefact.manifest
    if manifest.get("vocabulary") != vocabulary.sha256:
        raise BrokenArtefact(f"{directory} was fitted for another vocabulary than {vocabulary.directory}", hint=_HINT)
    if manifest.get("linker") not in {linker, *alike}:
        raise BrokenArtefact(f"{directory} was fitted with {manifest.get('linker')}, but this is {linker}", hint=_HINT)
    keys, seen, rows, cuis, shares = map(artefact.array, _ARRAYS)
    several, flat, odds = bool(manifest["several"]), bool(manifest["flat"]), float(manifest["odds"])
    return Prior(keys, seen, rows, cuis, shares, several, flat, odds, artefact.sha256[:_ID_DIGITS])


_ARRAYS = ("keys", "seen", "rows", "cuis", "shares")
