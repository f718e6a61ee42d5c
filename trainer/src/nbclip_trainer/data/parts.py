"""Parts of an index as they are written: the columns of their pairs, and their captions as numbers.

Shape legend: N rows of the data, P of a part, L tokens of the context.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from nbclip_trainer.data.indexed import KEYS, ROWS, TOKENS
from nbclip_trainer.data.mapped import Table, new_array, part_file, write_part
from nbclip_trainer.data.rows import Values, columns_of

TEXTS = "texts"


class EncodedTexts(NamedTuple):
    """Captions of a part: token ids, uint16 or int32, [N, L]; keys, int64, [N]; tokens of those over L, else 0, int32, [N]."""

    tokens: npt.NDArray[np.uint16 | np.int32]
    keys: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How captions become numbers.

    Attributes:
        tokenizer: its name.
        settings: all that it depends on.
        encode: does it; other processes are given it.
    """

    tokenizer: str
    settings: str
    encode: Callable[[Sequence[str]], EncodedTexts]


class Parts:
    """Writes parts, and has other processes encode their captions where there are several.

    Attributes:
        part_rows: rows of a part.
        number: of the next part.
    """

    def __init__(self, work: Path, encoding: Encoding, workers: int, part_rows: int) -> None:
        self._work, self._encode, self._workers, self.part_rows = work, encoding.encode, workers, part_rows
        self._pool: ProcessPoolExecutor | None = None
        self._running: deque[Future[None]] = deque()
        self.number = 0

    def add(self, values: Sequence[Values]) -> None:
        """Writes the next part, unless it is there."""
        path, number = part_file(self._work / TEXTS, self.number, "npz"), self.number
        self.number += 1
        if path.exists():
            return
        columns = {name: [row.get(name) for row in values] for name in columns_of(values)}
        write_part(part_file(self._work / ROWS, number), columns)
        captions = [str(caption) for caption in columns["caption"]]
        if not self._workers or (number == 0 and len(values) < self.part_rows):
            _write_texts(self._encode, captions, path)
            return
        self._pool = self._pool or ProcessPoolExecutor(self._workers, get_context("spawn"))
        self._running.append(self._pool.submit(_write_texts, self._encode, captions, path))
        if len(self._running) > 2 * self._workers:
            self._running.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=kind is not None)
        for running in self._running:
            if kind is None:
                running.result()


def _write_texts(encode: Callable[[Sequence[str]], EncodedTexts], captions: list[str], path: Path) -> None:
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        np.savez(file, **encode(captions)._asdict())
    unfinished.replace(path)


def next_part(found: Iterator[Values | str], bad: list[str], part_rows: int) -> list[Values]:
    """The next usable rows, at most `part_rows`; others are added to `bad`."""
    values: list[Values] = []
    for one in found:
        if isinstance(one, str):
            bad.append(one)
            continue
        values.append(one)
        if len(values) == part_rows:
            break
    return values


def join_texts(work: Path, table: Table) -> tuple[npt.NDArray[np.int32], int]:
    """Writes the parts' tokens and keys as one file each; returns the lengths of what does not fit, and the context."""
    length_N = np.zeros(len(table), np.int32)
    token_NL = key_N = None
    for number in table.parts:
        with np.load(part_file(work / TEXTS, number, "npz")) as part:
            rows, token_PL = table.rows_of_part(number), part["tokens"]
            if token_NL is None or key_N is None:
                token_NL = new_array(work / TOKENS, (len(table), token_PL.shape[1]), token_PL.dtype.type)
                key_N = new_array(work / KEYS, (len(table),), np.int64)
            token_NL[rows], key_N[rows], length_N[rows] = token_PL, part["keys"], part["lengths"]
    return length_N, 0 if token_NL is None else token_NL.shape[1]
