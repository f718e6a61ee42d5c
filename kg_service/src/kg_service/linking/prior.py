"""What labelled texts teach: how often the words of a run mean which concept.

From texts with spans, the share of a run's occurrences that carry each concept. From texts with concepts alone (such as ROCO's
captions), a noisy-or: each concept of a text is brought by one of its runs, independently, each with its own probability; fitted
by expectation maximisation. Both are smoothed towards what the unfitted linker makes of the run, so that one occurrence does
not outweigh a name. A run that labelled texts have is read as they read it, or not at all; others are read by names.

A fitted prior is a folder:

    keys      uint64 [K]      keys of runs (`tokens.py`), ascending
    seen      uint8 [2^b / 8] their bit field
    rows      int32 [K + 1]   row pointers into the two below
    cuis      int32 [E]       CUI numbers, most probable first
    shares    float32 [E]     probability of each

Shape legend: D texts, R runs, K distinct keys, E pairs of key and concept, T triples of text, key and concept of the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kg_service.linking.candidates import LEARNED, Bools, Candidates, Floats, runs
from kg_service.linking.name_index import bit_field, find_keys
from kg_service.linking.tokens import KEY, LETTERS, Ints, Tokens, Uint64s
from kg_service.vocabulary.artefact import open_array, read_manifest, write_manifest, writing_folder
from kg_service.vocabulary.format import cui_number
from kg_service.vocabulary.vocabulary import Vocabulary

KIND, FORMAT = "linking-prior", 1
_HINT = "fit it again"
_BATCH = 256
_STEPS = 25
_STRENGTH, _STRENGTH_OF_TEXTS = 1.0, 2.0
"""How many occurrences the unfitted linker's opinion is worth, beside spans and beside texts without."""
_LEAST_SHARE = 0.05
_ODDS = 4.5
"""Odds are multiplied by this to make a score: the default threshold of 0.75 is then a probability of 0.4."""


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
    """The arrays above; `several`: fitted from texts without spans, so that a run can bring several concepts at once."""

    keys: Uint64s
    seen: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int32]
    cuis: npt.NDArray[np.int32]
    shares: npt.NDArray[np.float32]
    several: bool


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
    if several:
        counts, learned = _noisy_or(text, at, *_text_labels(documents))
    else:
        counts = np.bincount(at, minlength=len(keys)).astype(float)
        learned = np.searchsorted(keys, labels["key"]), labels["cui"], np.ones(len(labels))
    return _smooth(keys, counts, learned, _guesses(at, guess, score), several)


def _span_labels(documents: Sequence[LabelledText], linker: TextReader) -> npt.NDArray[Any]:
    """Key and CUI number of each labelled run."""
    tokens, _ = linker.read([document.text for document in documents], 1.0)
    spans = list(_labelled_runs(documents, tokens))
    first, end = (np.array([span[i] for span in spans], np.int64) for i in (0, 1))
    keys = tokens.run_hash(KEY, first, end)
    pairs = [(key, cui_number(cui)) for key, (*_, cuis) in zip(keys, spans, strict=True) for cui in sorted(cuis)]
    return np.array(pairs, _LABEL)


def _occurrences(
    documents: Sequence[LabelledText], linker: TextReader, labelled: Uint64s, several: bool
) -> tuple[Ints, Uint64s, Ints, Floats]:
    """Runs that are names, labelled somewhere, or (without spans) single words: text, key, the unfitted CUI and its score."""
    tokens, found = linker.read([document.text for document in documents], 0.0)
    first, end = runs(tokens)
    code = _code(first, end)
    order = np.argsort(code)
    first, end, code = first[order], end[order], code[order]
    key = tokens.run_hash(KEY, first, end)
    guess, score = np.full(len(code), -1), np.zeros(len(code))
    at = np.searchsorted(code, _code(found.first, found.end))
    guess[at] = linker.vocabulary.concept_cui[found.concept[found.rows[:-1]]]
    score[at] = found.score[found.rows[:-1]]
    kept = (guess >= 0) | np.isin(key, labelled)
    if several:
        kept |= (end - first == 1) & (tokens.run_count(LETTERS, first, end) > 1)
    else:
        kept &= ~_inside(first, end, [span[:2] for span in _labelled_runs(documents, tokens)], set(code[guess >= 0].tolist()))
    text = np.searchsorted(tokens.bounds, first[kept], side="right") - 1
    return text, key[kept], guess[kept], score[kept]


def _code(first: Ints, end: Ints) -> Ints:
    return first * 16 + (end - first)


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


def _text_labels(documents: Sequence[LabelledText]) -> tuple[Ints, Ints]:
    """Text and CUI number of each concept of a text."""
    pairs = [(i, cui_number(cui)) for i, document in enumerate(documents) for cui in sorted(document.cuis)]
    texts, cuis = np.array(pairs, np.int64).reshape(-1, 2).T
    return texts, cuis


def _noisy_or(run_text: Ints, run_key: Ints, label_text: Ints, label_cui: Ints) -> tuple[Floats, tuple[Ints, Ints, Floats]]:
    """In how many texts each key is; and key (position), CUI number and how many of them it brings, by maximum likelihood."""
    key, text = np.unique(np.stack((run_key, run_text)), axis=1)
    counts = np.bincount(key).astype(float)
    # One triple for each label of a text and each key of the same text.
    order = np.argsort(text, kind="stable")
    key, text = key[order], text[order]
    low, high = np.searchsorted(text, label_text), np.searchsorted(text, label_text, side="right")
    label = np.repeat(np.arange(len(label_text)), high - low)
    at = np.arange(len(label)) + np.repeat(low - (np.cumsum(high - low) - (high - low)), high - low)
    cuis, cui = np.unique(label_cui, return_inverse=True)
    pairs, pair = np.unique(key[at] * len(cuis) + cui[label], return_inverse=True)
    pair_key, pair_cui = pairs // len(cuis), cuis[pairs % len(cuis)]
    share: Floats = np.bincount(pair) / counts[pair_key]
    for _ in range(_STEPS):
        unsaid = np.bincount(label, np.log1p(-np.minimum(share, 1 - 1e-9))[pair], len(label_text))
        brought = share[pair] / np.maximum(-np.expm1(unsaid), 1e-12)[label]
        share = np.minimum(np.bincount(pair, brought) / counts[pair_key], 1)
    return counts, (pair_key, pair_cui, share * counts[pair_key])


def _guesses(run_key: Ints, guess: Ints, score: Floats) -> tuple[Ints, Floats]:
    """For each key the unfitted linker's best reading of any of its occurrences: CUI number (-1: none) and score."""
    order = np.lexsort((guess, score, run_key))
    last = np.flatnonzero(np.diff(run_key[order], append=-1))
    return guess[order[last]], score[order[last]]


def _smooth(
    keys: Uint64s, counts: Floats, learned: tuple[Ints, Ints, Floats], guesses: tuple[Ints, Floats], several: bool
) -> Prior:
    """Adds a few occurrences that go as the unfitted linker has it, and leaves out what is hardly ever meant."""
    guess, score = guesses
    strength = _STRENGTH_OF_TEXTS if several else _STRENGTH
    named = np.flatnonzero(guess >= 0)
    opinion = strength * _trust(score[named])
    key = np.concatenate((learned[0], named))
    cui = np.concatenate((learned[1], guess[named]))
    weight = np.concatenate((learned[2], opinion))
    pairs, pair = np.unique(np.stack((key, cui)), axis=1, return_inverse=True)
    key, cui = pairs
    share = np.bincount(pair.ravel(), weight) / (counts + strength)[key]
    order = np.lexsort((cui, -share, key))
    order = order[share[order] >= _LEAST_SHARE]
    rows = np.searchsorted(key[order], np.arange(len(keys) + 1)).astype(np.int32)
    return Prior(keys, bit_field(keys), rows, cui[order].astype(np.int32), share[order].astype(np.float32), several)


def _trust(score: Floats) -> Floats:
    """How often an unfitted reading is right: about half the time where it is sure, seldom where it is not."""
    return np.where(score >= 0.75, 0.5, 0.1)


def save_prior(prior: Prior, directory: Path) -> None:
    """Writes `prior` as a folder that `open_prior` maps into memory."""
    with writing_folder(directory) as folder:
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(prior, name))
        write_manifest(folder, {"kind": KIND, "format": FORMAT, "several": prior.several})


def open_prior(directory: Path) -> Prior:
    """Maps a fitted prior into memory.

    Raises:
        NotFound: there is none.
        BrokenArtefact: it is damaged, or of another format.
    """
    manifest = read_manifest(directory, KIND, FORMAT, hint=_HINT)
    keys, seen, rows, cuis, shares = (open_array(directory, name) for name in _ARRAYS)
    return Prior(keys, seen, rows, cuis, shares, bool(manifest["several"]))


_ARRAYS = ("keys", "seen", "rows", "cuis", "shares")


class PriorReader:
    """Puts what a prior says in place of what names say."""

    def __init__(self, prior: Prior, vocabulary: Vocabulary, wanted: Bools | None) -> None:
        self._prior = prior
        self.several = prior.several
        position = np.searchsorted(vocabulary.concept_cui, prior.cuis)
        position = np.minimum(position, len(vocabulary) - 1)
        known = vocabulary.concept_cui[position] == prior.cuis
        self._usable = known if wanted is None else known & wanted[position]
        self._concept = position.astype(np.int64)
        odds = _ODDS * prior.shares.astype(float) / np.maximum(1 - prior.shares, 1e-6)
        self._score = np.round(odds / (1 + odds), 4)

    def read(self, tokens: Tokens, found: Candidates, min_score: float) -> Candidates:
        """`found` without the runs that the prior knows, and with what it says of them if that has `min_score` or more."""
        first, end = runs(tokens)
        query, position = find_keys(self._prior.keys, self._prior.seen, tokens.run_hash(KEY, first, end))
        first, end = first[query], end[query]
        named = ~np.isin(_code(found.first, found.end), _code(first, end))
        start, stop = (self._prior.rows[position + step].astype(np.int64) for step in (0, 1))
        match = np.repeat(np.arange(len(first)), stop - start)
        row = np.arange(len(match)) + np.repeat(start - (np.cumsum(stop - start) - (stop - start)), stop - start)
        kept = self._usable[row]
        match, row = match[kept], row[kept]
        learned = np.zeros(len(first))
        np.maximum.at(learned, match, self._score[row])
        sure = learned >= min_score
        return _merge(found, named, (first, end, sure), (match, self._concept[row], self._score[row]))


def _merge(found: Candidates, named: Bools, runs_of: tuple[Ints, Ints, Bools], learned: tuple[Ints, Ints, Floats]) -> Candidates:
    """Named and learned matches in one order."""
    size = np.diff(found.rows)
    inside = np.repeat(named, size)
    match, concept, score = learned
    first, end, sure = runs_of
    taken = sure[match]
    code = np.concatenate((np.repeat(_code(found.first, found.end), size)[inside], _code(first, end)[match[taken]]))
    order = np.argsort(code, kind="stable")
    codes, row = np.unique(code[order], return_index=True)
    joined = (
        np.concatenate((old[inside], new))[order]
        for old, new in (
            (found.concept, concept[taken]),
            (found.rule, np.full(int(taken.sum()), LEARNED)),
            (found.score, score[taken]),
        )
    )
    return Candidates(codes // 16, codes // 16 + codes % 16, np.append(row, len(code)), *joined)
