"""UMLS releases in RRF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from kg_service.vocabulary.about import release_name, stated_rows
from kg_service.vocabulary.files import Part, ReleaseFiles
from kg_service.vocabulary.relations import inverses_of
from kg_service.vocabulary.rrf import MRRANK, BadRows, Layout, OnBytes, Select, read_rrf


class Umls:
    """A `Source` whose rows are those of its files."""

    what = "UMLS RRF files"
    is_a_at = "MRREL, and --is-a"
    types_at = "columns 2 and 4 of its MRSTY"
    ids = None

    def __init__(self, files: ReleaseFiles) -> None:
        self.given: Path = files.given
        self.inverses: Mapping[str, str] = inverses_of(files)
        self._files = files
        self._parts: dict[str, tuple[Part, ...]] = {}
        self._bad_rows = BadRows(0)
        self._progress: OnBytes | None = None

    @property
    def parts(self) -> Sequence[Part]:
        """As `Source.parts`."""
        return [part for parts in self._parts.values() for part in parts]

    def prepare(self, layouts: Sequence[Layout], bad_rows: BadRows, progress: OnBytes | None) -> None:
        """As `Source.prepare`."""
        self._bad_rows, self._progress = bad_rows, progress
        for layout in layouts:
            look = self._files.look_for if layout is MRRANK else self._files.find
            self._parts[layout.stem] = look(layout.stem)

    def rows(self, layout: Layout, columns: tuple[str, ...], select: Select) -> Iterator[pa.Table]:
        """As `Source.rows`."""
        if parts := self._parts[layout.stem]:
            yield from read_rrf(parts, layout, columns, self._bad_rows, self._progress, select)

    def release_name(self) -> str:
        """As `Source.release_name`."""
        return release_name(self._files)

    def notes(self) -> tuple[str, ...]:
        """Files that have another number of rows than MRFILES says."""
        stated = stated_rows(self._files)
        return tuple(
            f"{name} has {lines:,} rows, and MRFILES says {stated[name]:,}: check that all parts and -meta.nlm archives are "
            "there; ignore this if rows were removed on purpose"
            for name, lines in self._bad_rows.lines.items()
            if stated.get(name, lines) != lines
        )
