"""A linker in several processes: the same mentions in the same order, faster.

Each process maps the same vocabulary and index into memory, so the pages are shared. Processes are spawned, not forked: in them
no thread of the parent holds a lock. What they send back is packed: taking apart a pickle of mentions costs as much as linking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from nbclip.schemas.linking import Assertion

from kg_service.linking.builder import build_linker
from kg_service.linking.model import LinkCandidate, LinkedCaption, Linker, Mention
from kg_service.linking.settings import LinkerSettings
from kg_service.vocabulary.vocabulary import Vocabulary, open_vocabulary

_PART = 512
"""Captions that a process takes at a time."""


class ParallelLinker:
    """Links parts of what it is given in the processes of a pool."""

    def __init__(self, name: str, pool: ProcessPoolExecutor) -> None:
        self._name = name
        self._pool = pool

    @property
    def name(self) -> str:
        """That of the linker in the processes."""
        return self._name

    def link(self, captions: Sequence[str]) -> list[LinkedCaption]:
        """One LinkedCaption a caption, in order."""
        parts = [captions[start : start + _PART] for start in range(0, len(captions), _PART)]
        answers = zip(parts, self._pool.map(_link, parts), strict=True)
        return [linked for part, answer in answers for linked in _unpack(part, answer)]


@contextmanager
def parallel_linker(name: str, vocabulary: Vocabulary, settings: LinkerSettings, workers: int) -> Iterator[Linker]:
    """The linker of `build_linker`, in `workers` processes; with one, in this. The processes end with the block.

    Raises:
        InvalidInput: there is no such linker, or the index can't be written.
    """
    # The index is made here, once, if it is missing.
    linker = build_linker(name, vocabulary, settings)
    if workers == 1:
        yield linker
        return
    arguments = (name, vocabulary.directory, settings)
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_open, initargs=arguments) as pool:
        yield ParallelLinker(linker.name, pool)


_linkers: list[Linker] = []


def _open(name: str, vocabulary: Path, settings: LinkerSettings) -> None:
    _linkers[:] = [build_linker(name, open_vocabulary(vocabulary), settings)]


class _Packed(NamedTuple):
    """The mentions of a part: how many each caption has, and of each: start, end, which of `meanings`, assertion.

    A meaning is CUI, name, score, rule and the candidates that lost.
    """

    counts: list[int]
    mentions: list[tuple[int, int, int, Assertion]]
    meanings: list[_Meaning]


_Meaning = tuple[str, str, float, str, tuple[tuple[str, str, float], ...]]


def _link(captions: Sequence[str]) -> _Packed:
    return _pack(_linkers[0].link(captions))


def _pack(linked: Sequence[LinkedCaption]) -> _Packed:
    known: dict[_Meaning, int] = {}
    mentions = []
    for caption in linked:
        for mention in caption.mentions:
            losers = tuple((loser.cui, loser.name, loser.score) for loser in mention.candidates)
            meaning = mention.cui, mention.name, mention.score, mention.rule, losers
            mentions.append((mention.start, mention.end, known.setdefault(meaning, len(known)), mention.assertion))
    return _Packed([len(caption.mentions) for caption in linked], mentions, list(known))


def _unpack(captions: Sequence[str], packed: _Packed) -> Iterator[LinkedCaption]:
    losers = [tuple(LinkCandidate(*loser) for loser in meaning[-1]) for meaning in packed.meanings]
    mentions = iter(packed.mentions)
    for caption, count in zip(captions, packed.counts, strict=True):
        found = []
        for start, end, which, assertion in islice(mentions, count):
            cui, name, score, rule, _ = packed.meanings[which]
            found.append(Mention(cui, name, caption[start:end], start, end, score, rule, assertion, losers[which]))
        yield LinkedCaption(caption, tuple(found))
