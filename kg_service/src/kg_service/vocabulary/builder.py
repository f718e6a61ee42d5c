"""Compiles the RRF files of a release into the folder that `open_vocabulary` maps into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from nbclip_shared.errors import InvalidInput

from kg_service.vocabulary import tables
from kg_service.vocabulary.artefact import describe_file, write_array, write_manifest, writing_folder
from kg_service.vocabulary.format import FORMAT, KIND, cui_text
from kg_service.vocabulary.hierarchy import adjacency, cycle_edges
from kg_service.vocabulary.model import BuildReport, Edge, VocabularyFilters
from kg_service.vocabulary.rrf import BadRows, Progress
from kg_service.vocabulary.strings import write_strings

UNKNOWN = "unknown"


def build_vocabulary(
    rrf_dir: Path,
    out_dir: Path,
    filters: VocabularyFilters = VocabularyFilters(),  # noqa: B008  (frozen)
    *,
    release: str = "",
    licence: str = "",
    max_bad_rows: int = 10_000,
    memory_limit: str = "512MB",
    progress: Progress | None = None,
) -> BuildReport:
    """Compiles MRCONSO, MRREL and MRSTY (`.RRF` or `.RRF.gz`) of `rrf_dir` into `out_dir`.

    The same input gives the same bytes. Damaged rows are skipped and reported; it is for the caller to refuse them. An
    artefact that is already in `out_dir` is replaced once the new one is whole.

    Args:
        rrf_dir: the folder of the release (META in a UMLS one).
        out_dir: the folder to make.
        filters: which rows to take.
        release: its name; by default what `release.dat` or MRDOC says.
        licence: under which terms the content may be used; recorded.
        max_bad_rows: how many bad rows the report names; all are counted.
        memory_limit: what DuckDB may use before it spills to disk.
        progress: called as each file is read.

    Raises:
        InvalidInput: a file is missing or unreadable, or no concept passes the filters.
    """
    bad_rows = BadRows(max_bad_rows)
    with writing_folder(out_dir) as folder, tempfile.TemporaryDirectory(dir=folder.parent, prefix=".build-") as scratch:
        with tables.connect(Path(scratch), memory_limit) as connection:
            paths = tables.load_release(connection, rrf_dir, filters, bad_rows, progress)
            compiled, cut_edges = _compile(connection, folder, filters)
        if not compiled["counts"]["concepts"]:
            raise InvalidInput(f"no concept of {rrf_dir} passes the filters", hint=f"look at {_first_problem(bad_rows, filters)}")
        manifest = {
            "kind": KIND,
            "format": FORMAT,
            "release": release or _release_of(rrf_dir),
            "licence": licence or UNKNOWN,
            "inputs": [describe_file(path) for path in paths],
            "filters": asdict(filters),
            **compiled,
        }
        manifest["counts"]["bad_rows"] = bad_rows.count
        write_manifest(folder, manifest)
    counts = {key: manifest["counts"][key] for key in ("concepts", "names", "is_a")}
    return BuildReport(
        manifest["release"], **counts, bad_row_count=bad_rows.count, bad_rows=tuple(bad_rows.first), cut_edges=cut_edges
    )


def _first_problem(bad_rows: BadRows, filters: VocabularyFilters) -> str:
    return str(bad_rows.first[0]) if bad_rows.first else f"the files and at {filters}"


def _release_of(rrf_dir: Path) -> str:
    for name, separator in (("release.dat", "="), ("MRDOC.RRF", "|")):
        path = rrf_dir / name
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        for line in lines:
            parts = [part for part in line.split(separator) if part]
            if "umls.release.name" in parts:
                return parts[-1].strip()
    return UNKNOWN


def _compile(
    connection: duckdb.DuckDBPyConnection, folder: Path, filters: VocabularyFilters
) -> tuple[dict[str, Any], tuple[Edge, ...]]:
    sources, term_types = tables.select_names(connection, filters)
    cuis = _write_names(connection, folder)
    type_names = _write_types(connection, folder, cuis)
    edge_sources, edges, cut_edges = _write_is_a(connection, folder, cuis)
    words = _write_words(connection, folder)
    names = int(np.load(folder / "name_concept.npy", mmap_mode="r").shape[0])
    counts = {"concepts": len(cuis), "names": names, "is_a": edges, "words": words, "cut_edges": len(cut_edges)}
    lists = {"sources": sources, "term_types": term_types, "semantic_types": type_names, "edge_sources": edge_sources}
    return {"counts": counts, **lists}, cut_edges


def _write_names(connection: duckdb.DuckDBPyConnection, folder: Path) -> npt.NDArray[np.int32]:
    """Writes the names, in order of concept and key, and the concepts; returns the concepts' CUI numbers, ascending."""
    cui_parts: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)]
    key_parts: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]

    def texts() -> Iterator[pa.Array]:
        for batch in tables.read_names(connection):
            cui_parts.append(batch.column("cui").to_numpy())
            key_parts.append(batch.column("key").to_numpy().astype(np.int64))
            yield batch.column("text")

    write_strings(folder, "name", texts())
    cuis, first, concept = np.unique(np.concatenate(cui_parts), return_index=True, return_inverse=True)
    key = np.concatenate(key_parts)
    np.save(folder / "concept_cui.npy", cuis.astype(np.int32))
    np.save(folder / "concept_names.npy", np.append(first, len(key)).astype(np.int64))
    np.save(folder / "name_concept.npy", concept.astype(np.int32))
    np.save(folder / "name_key.npy", key)
    return cuis.astype(np.int32)


def _write_types(connection: duckdb.DuckDBPyConnection, folder: Path, cuis: npt.NDArray[np.int32]) -> dict[str, str]:
    table, type_names = tables.read_types(connection)
    codes = {tui: code for code, tui in enumerate(type_names)}
    concept = np.searchsorted(cuis, table.column("cui").to_numpy()).astype(np.int32)
    row_pointers, _ = adjacency(concept, len(cuis))
    np.save(folder / "concept_types.npy", row_pointers.astype(np.int64))
    np.save(folder / "types.npy", np.array([codes[tui] for tui in table.column("tui").to_pylist()], np.uint8))
    return type_names


def _write_is_a(
    connection: duckdb.DuckDBPyConnection, folder: Path, cuis: npt.NDArray[np.int32]
) -> tuple[list[str], int, tuple[Edge, ...]]:
    """Writes is_a by child and by parent without its cycles; returns the values of `source`, the edge count, and what was cut."""
    table = tables.read_is_a(connection)
    child = np.searchsorted(cuis, table.column("child").to_numpy()).astype(np.int32)
    parent = np.searchsorted(cuis, table.column("parent").to_numpy()).astype(np.int32)
    edge_sources, source = _encode(table.column("source"))
    cut = cycle_edges(child, parent, len(cuis))
    cut_edges = tuple(Edge(cui_text(cuis[child[e]]), cui_text(cuis[parent[e]]), edge_sources[source[e]]) for e in cut)
    child, parent, source = (np.delete(array, cut) for array in (child, parent, source))
    parents_of, _ = adjacency(child, len(cuis))
    children_of, by_parent = adjacency(parent, len(cuis))
    arrays = {"parents_of": parents_of, "parents": parent, "edge_source": source}
    arrays |= {"children_of": children_of, "children": child[by_parent]}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    lines = (f"{edge.child}\t{edge.parent}\t{edge.source}\n" for edge in cut_edges)
    (folder / "cut_edges.tsv").write_text("child\tparent\tsource\n" + "".join(lines), encoding="utf-8")
    return edge_sources, len(child), cut_edges


def _encode(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Distinct values, sorted, and each row's position among them."""
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    order = sorted(range(len(values)), key=values.__getitem__)
    position = np.empty(len(values), np.int32)
    position[order] = np.arange(len(values), dtype=np.int32)
    return [values[i] for i in order], position[encoded.indices.to_numpy()]


def _write_words(connection: duckdb.DuckDBPyConnection, folder: Path) -> int:
    words, postings = tables.read_words(connection)
    pointers = np.concatenate(([0], np.cumsum(words.column("count").to_numpy()))).astype(np.int64)
    np.save(folder / "word_names.npy", pointers)
    write_array(folder / "postings.npy", np.int32, postings)
    return write_strings(folder, "word", words.column("word").chunks)
