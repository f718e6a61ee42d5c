"""Atoms on their way from MRCONSO to names: kept on disk by ranges of CUIs, each range small enough to sort in memory.

A range has 2^17 CUI numbers whatever the order of the rows, so what the names need does not grow with the release.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kg_service.vocabulary.codes import Codes
from kg_service.vocabulary.format import CODE_MASK, PRECEDENCE_SHIFT, RANK_SHIFT, SOURCE_SHIFT

Int64s = npt.NDArray[np.int64]

RANGE_BITS = 17
_SCHEMA = pa.schema(
    [("cui", pa.int32()), ("rank", pa.int8()), ("sab", pa.int32()), ("tty", pa.int32()), ("text", pa.large_string())]
)


class AtomFiles:
    """Atoms by range of CUIs, in nameless files that vanish with the process, however it ends."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._open = ExitStack()
        self._files: dict[int, tuple[IO[bytes], Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def add(self, atoms: pa.RecordBatch) -> None:
        """Takes atoms in any order."""
        part = atoms.column("cui").to_numpy() >> RANGE_BITS
        if (part[1:] < part[:-1]).any():
            order = np.argsort(part, kind="stable")
            part, atoms = part[order], atoms.take(pa.array(order))
        bounds = np.append(np.flatnonzero(np.diff(part, prepend=-1)), len(part)).tolist()
        for start, stop in pairwise(bounds):
            self._writer(int(part[start])).write_batch(atoms.slice(start, stop - start))

    def _writer(self, part: int) -> Any:
        if part not in self._files:
            stream = self._open.enter_context(tempfile.TemporaryFile(dir=self._scratch))  # noqa: SIM115  (the stack closes it)
            self._files[part] = stream, pa.ipc.new_stream(stream, _SCHEMA)
        return self._files[part][1]

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[pa.Table]:
        """The atoms of each range, ranges ascending; once."""
        for part in sorted(self._files):
            stream, writer = self._files.pop(part)
            writer.close()
            stream.seek(0)
            yield pa.ipc.open_stream(stream).read_all()
            stream.close()


def atom_batch(cui: npt.NDArray[np.int32], rank: npt.NDArray[np.int8], sab: Any, tty: Any, text: pa.Array) -> pa.RecordBatch:
    """Atoms as `AtomFiles` takes them; `rank` as `Name.rank`, `sab` and `tty` as `Codes` number them."""
    return pa.record_batch([*map(pa.array, (cui, rank, sab, tty)), text.cast(pa.large_string())], schema=_SCHEMA)


@dataclass(frozen=True, slots=True)
class Precedence:
    """What makes the keys of names: where SABs, TTYs and the pairs of MRRANK stand.

    Attributes:
        sources: position of each SAB, by its code, int64, [S].
        term_types: position of each TTY, by its code, int64, [T].
        pairs: MRRANK's place of each SAB and TTY, int64, [S, T]; CODE_MASK where it has none.
    """

    sources: Int64s
    term_types: Int64s
    pairs: Int64s = field(repr=False)

    def keys(self, atoms: pa.Table) -> Int64s:
        """The key of each atom (`format.py`), int64, [n]."""
        rank, sab, tty = (atoms.column(name).to_numpy() for name in ("rank", "sab", "tty"))
        key = (rank.astype(np.int64) << RANK_SHIFT) + (self.pairs[sab, tty] << PRECEDENCE_SHIFT)
        return np.asarray(key + (self.sources[sab] << SOURCE_SHIFT) + self.term_types[tty], np.int64)


def precedence_of(
    sabs: Codes, sources: list[str], ttys: Codes, term_types: list[str], ranks: dict[tuple[str, str], int]
) -> Precedence:
    """The places of SABs in `sources`, of TTYs in `term_types`, and of both by falling rank of MRRANK, then in order of texts."""
    pairs = np.full((len(sabs), len(ttys)), CODE_MASK, np.int64)
    sab_codes, tty_codes = ({text: code for code, text in enumerate(codes.values())} for codes in (sabs, ttys))
    for place, (sab, tty) in enumerate(sorted(ranks, key=lambda pair: (-ranks[pair], *pair))):
        if sab in sab_codes and tty in tty_codes:
            pairs[sab_codes[sab], tty_codes[tty]] = place
    return Precedence(sabs.positions_in(sources), ttys.positions_in(term_types), pairs)


@dataclass(frozen=True, slots=True)
class Names:
    """Distinct names of some concepts, ordered by CUI, key and text: `cui` int32, `key` int64, `text` large_string, all [n]."""

    cui: npt.NDArray[np.int32]
    key: Int64s
    text: pa.Array


def names_of(atoms: pa.Table, key: Int64s) -> Names:
    """Each text of a concept once, with its lowest key."""
    cui = atoms.column("cui").to_numpy()
    encoded = atoms.column("text").combine_chunks().dictionary_encode()
    by_text = pc.array_sort_indices(encoded.dictionary)
    place = np.empty(len(by_text), np.int64)
    place[by_text.to_numpy()] = np.arange(len(by_text))
    text = place[encoded.indices.to_numpy()]
    order = np.lexsort((key, text, cui))
    new = np.flatnonzero((np.diff(cui[order], prepend=-1) != 0) | (np.diff(text[order], prepend=-1) != 0))
    best = order[new]
    best = best[np.lexsort((text[best], key[best], cui[best]))]
    return Names(cui[best], key[best], atoms.column("text").take(pa.array(best)).combine_chunks())
