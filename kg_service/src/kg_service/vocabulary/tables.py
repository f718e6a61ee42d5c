"""The release as DuckDB tables: filtered while streaming in, joined and sorted on disk, read back as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kg_service.vocabulary.format import RANK_SHIFT, SOURCE_SHIFT
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.rrf import MRCONSO, MRREL, MRSTY, BadRows, Progress, find_rrf, read_rrf

_BATCH = 1 << 17
_TABLES = """
CREATE TABLE atom (cui INTEGER, text VARCHAR, sab VARCHAR, tty VARCHAR, rank INTEGER);
CREATE TABLE semantic_type (cui INTEGER, tui VARCHAR, sty VARCHAR);
CREATE TABLE relation (child INTEGER, parent INTEGER, sab VARCHAR);
"""
_LOAD_ATOMS = """
INSERT INTO atom SELECT CUI[2:]::INTEGER, STR, SAB, TTY, 4 * (TS <> 'P')::INT + 2 * (STT <> 'PF')::INT + (ISPREF <> 'Y')::INT
FROM rows WHERE LAT IN (SELECT unnest($languages)) AND SUPPRESS NOT IN (SELECT unnest($suppress))
AND (len($sources) = 0 OR SAB IN (SELECT unnest($sources))) AND trim(STR) <> ''
"""
_LOAD_TYPES = "INSERT INTO semantic_type SELECT CUI[2:]::INTEGER, TUI, STY FROM rows"
# Rows are read from right to left: REL and RELA say what CUI2 is to CUI1.
_LOAD_RELATIONS = """
INSERT INTO relation SELECT
    CASE WHEN downward THEN CUI2[2:]::INTEGER ELSE CUI1[2:]::INTEGER END,
    CASE WHEN downward THEN CUI1[2:]::INTEGER ELSE CUI2[2:]::INTEGER END, SAB
FROM (
    SELECT *, RELA = 'isa' OR (RELA = '' AND REL = 'CHD') AS downward FROM rows
    WHERE ((RELA IN ('isa', 'inverse_isa') AND $rela) OR (RELA = '' AND REL IN ('PAR', 'CHD') AND $rel))
    AND CUI1 <> CUI2 AND SUPPRESS NOT IN (SELECT unnest($suppress))
    AND (len($sources) = 0 OR SAB IN (SELECT unnest($sources)))
)
"""
_NAMES = f"""
CREATE TABLE name AS
SELECT cui, text, min((rank::BIGINT << {RANK_SHIFT}) + (s.code << {SOURCE_SHIFT}) + t.code) AS key
FROM atom JOIN source s ON atom.sab = s.value JOIN term_type t ON atom.tty = t.value
WHERE len($semantic_types) = 0 OR cui IN (SELECT cui FROM semantic_type WHERE tui IN (SELECT unnest($semantic_types)))
GROUP BY cui, text ORDER BY cui, key, text
"""
_IS_A = """
SELECT child, parent, string_agg(DISTINCT sab, ',' ORDER BY sab) AS source FROM relation
WHERE child IN (SELECT cui FROM name) AND parent IN (SELECT cui FROM name)
GROUP BY child, parent ORDER BY child, parent
"""
_TYPES = """
SELECT DISTINCT cui, tui FROM semantic_type WHERE cui IN (SELECT cui FROM name) ORDER BY cui, tui
"""
_TYPE_NAMES = """
SELECT tui, min(sty) FROM semantic_type WHERE cui IN (SELECT cui FROM name) GROUP BY tui ORDER BY tui
"""
_WORDS = r"""
CREATE TABLE posting AS
SELECT unnest(list_distinct(regexp_extract_all(lower(text), '[\p{L}\p{N}]+'))) AS word, rowid::INTEGER AS id FROM name
"""


def connect(scratch: Path, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """A database on disk in `scratch` that stays under `memory_limit`."""
    connection = duckdb.connect(
        scratch / "build.duckdb", config={"memory_limit": memory_limit, "temp_directory": str(scratch / "spill")}
    )
    connection.execute(_TABLES)
    return connection


def load_release(
    connection: duckdb.DuckDBPyConnection,
    directory: Path,
    filters: VocabularyFilters,
    bad_rows: BadRows,
    progress: Progress | None,
) -> list[Path]:
    """Streams the three files into tables and returns their paths."""
    common = {"suppress": list(filters.suppress), "sources": list(filters.sources)}
    is_a = {"rela": "rela" in filters.is_a, "rel": "rel" in filters.is_a}
    steps: list[tuple[Any, str, str, dict[str, Any]]] = [
        (MRCONSO, "CUI LAT TS STT ISPREF SAB TTY STR SUPPRESS", _LOAD_ATOMS, {"languages": list(filters.languages), **common}),
        (MRSTY, "CUI TUI STY", _LOAD_TYPES, {}),
        (MRREL, "CUI1 REL CUI2 RELA SAB SUPPRESS", _LOAD_RELATIONS, {**is_a, **common}),
    ]
    paths = [find_rrf(directory, layout) for layout, *_ in steps]
    for path, (layout, columns, insert, parameters) in zip(paths, steps, strict=True):
        for rows in read_rrf(path, layout, tuple(columns.split()), bad_rows, progress):
            connection.register("rows", rows)
            connection.execute(insert, parameters)
            connection.unregister("rows")
    return paths


def select_names(connection: duckdb.DuckDBPyConnection, filters: VocabularyFilters) -> tuple[list[str], list[str]]:
    """Makes the table of distinct names in their final order; returns SABs and TTYs, each at its code."""
    found = _column(connection, "SELECT DISTINCT sab FROM atom ORDER BY sab")
    sources = [sab for sab in dict.fromkeys(filters.sources) if sab in found] or found
    term_types = _column(connection, "SELECT DISTINCT tty FROM atom ORDER BY tty")
    for table, values in (("source", sources), ("term_type", term_types)):
        connection.execute(f"CREATE TABLE {table} (value VARCHAR, code BIGINT)")
        connection.execute(f"INSERT INTO {table} SELECT unnest($values), unnest(range(len($values)))", {"values": values})
    connection.execute(_NAMES, {"semantic_types": list(filters.semantic_types)})
    return sources, term_types


def read_names(connection: duckdb.DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
    """Batches of `cui`, `text`, `key`, in order."""
    yield from connection.sql("SELECT cui, text, key FROM name ORDER BY rowid").to_arrow_reader(_BATCH)


def read_is_a(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """`child`, `parent` (CUI numbers) and `source`, ordered by child and parent."""
    return connection.sql(_IS_A).to_arrow_table()


def read_types(connection: duckdb.DuckDBPyConnection) -> tuple[pa.Table, dict[str, str]]:
    """`cui` and `tui` of the kept concepts, ordered, and what each TUI is called."""
    return connection.sql(_TYPES).to_arrow_table(), dict(connection.execute(_TYPE_NAMES).fetchall())


def read_words(connection: duckdb.DuckDBPyConnection) -> tuple[Any, Iterator[npt.NDArray[np.int32]]]:
    """The words of all names, sorted, with `count`; and the names' positions word after word, in batches."""
    connection.execute(_WORDS)
    words = connection.sql("SELECT word, count(*) AS count FROM posting GROUP BY word ORDER BY word").to_arrow_table()
    postings = connection.sql("SELECT id FROM posting ORDER BY word, id").to_arrow_reader(_BATCH)
    return words, (batch.column(0).to_numpy() for batch in postings)


def _column(connection: duckdb.DuckDBPyConnection, query: str) -> list[str]:
    return [row[0] for row in connection.execute(query).fetchall()]
