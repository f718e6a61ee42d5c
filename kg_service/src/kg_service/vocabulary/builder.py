"""Compiles a release, whatever its format, into the folder that `open_vocabulary` maps into memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from nbclip.errors import InvalidInput

from kg_service.storage.arrays import ArrayWriter, save_arrays
from kg_service.storage.artefact import write_manifest, writing_artefact
from kg_service.storage.strings import StringsWriter, write_strings
from kg_service.vocabulary.atoms import AtomFiles, Names, Precedence, names_of, precedence_of
from kg_service.vocabulary.edges import write_is_a, write_relations
from kg_service.vocabulary.files import Part
from kg_service.vocabulary.format import FORMAT, KIND, UNKNOWN, WITH_IDS, WITHOUT_RELATIONS, cui_text
from kg_service.vocabulary.formats.finding import find_source
from kg_service.vocabulary.hierarchy import adjacency
from kg_service.vocabulary.model import BuildReport, Edge, VocabularyFilters
from kg_service.vocabulary.pairs import pack, unpack
from kg_service.vocabulary.relations import Relations
from kg_service.vocabulary.release import Release, Source, read_release
from kg_service.vocabulary.rrf import BadRows, OnBytes
from kg_service.vocabulary.threads import map_in_order
from kg_service.vocabulary.vocabulary import Vocabulary, open_vocabulary
from kg_service.vocabulary.words import WordFiles, Words, words_of

Int32s = npt.NDArray[np.int32]


def build_vocabulary(
    given: Path,
    out_dir: Path,
    filters: VocabularyFilters = VocabularyFilters(),  # noqa: B008  (frozen)
    *,
    release: str = "",
    licence: str = "",
    max_bad_rows: int = 10_000,
    progress: OnBytes | None = None,
    check: Callable[[Vocabulary], None] | None = None,
) -> BuildReport:
    """Compiles a UMLS release in RRF, a SNOMED CT release in RF2, or an ontology in OBO, OWL or OBO graph JSON into `out_dir`.

    The same input gives the same bytes. Damaged rows are skipped and reported; it is for the caller to refuse them. An
    artefact that is already in `out_dir` is replaced once the new one is whole.

    Args:
        given: the folder of the release (META in a UMLS one), one above it, its archives, or the file (`find_source`).
        out_dir: the folder to make.
        filters: which rows to take.
        release: its name; by default what its files say.
        licence: under which terms the content may be used; recorded.
        max_bad_rows: how many bad rows the report names; all are counted.
        progress: called as each file is read, and as names are made.
        check: called with the new vocabulary before it replaces an older one, which stays if this raises.

    Raises:
        InvalidInput: a file is missing or unreadable, nothing has a value that a filter names, or no concept passes all filters.
    """
    bad_rows, source = BadRows(max_bad_rows), find_source(given)
    with writing_artefact(out_dir) as folder:
        with AtomFiles(folder.parent) as atoms:
            release_read = Release(atoms, relations=Relations(source.inverses))
            filters = read_release(release_read, source, filters, bad_rows, progress)
            compiled, cut_edges = _compile(release_read, source.ids, folder, filters, progress)
        left_out = release_read.census.left_out(filters, compiled["counts"]["concepts"])
        if not compiled["counts"]["concepts"]:
            raise InvalidInput(f"no concept of {given} passes the filters", hint=_first_problem(bad_rows, left_out))
        manifest = {
            "kind": KIND,
            "format": _format(source, filters),
            "release": release or source.release_name() or UNKNOWN,
            "licence": licence or UNKNOWN,
            "inputs": [asdict(file) for file in map_in_order(Part.describe, source.parts)],
            "filters": {name: value for name, value in asdict(filters).items() if value or name != "relations"},
            "left_out": left_out,
            **({} if source.ids is None else {"read_as": source.what}),
            **compiled,
        }
        manifest["counts"]["bad_rows"] = bad_rows.count
        write_manifest(folder, manifest)
        if check:
            check(open_vocabulary(folder))
    counts = {key: manifest["counts"][key] for key in ("concepts", "names", "is_a")}
    return BuildReport(
        manifest["release"],
        **counts,
        bad_row_count=bad_rows.count,
        bad_rows=tuple(bad_rows.first),
        cut_edges=cut_edges,
        notes=source.notes(),
        what=source.what,
        is_a_at=source.is_a_at,
        left_out=left_out,
        relations=manifest.get("relations", {}),
    )


def _format(source: Source, filters: VocabularyFilters) -> int:
    if source.ids is not None:
        return WITH_IDS
    return FORMAT if filters.relations else WITHOUT_RELATIONS


def _first_problem(bad_rows: BadRows, left_out: dict[str, int]) -> str:
    if bad_rows.first:
        return f"look at {bad_rows.first[0]}"
    if not any(left_out.values()):
        return "it has no name of any concept"
    return f"left out one after the other: {', '.join(f'{count} by {name}' for name, count in left_out.items())}"


def _compile(
    release: Release, ids: pa.Array | None, folder: Path, filters: VocabularyFilters, progress: OnBytes | None
) -> tuple[dict[str, Any], tuple[Edge, ...]]:
    found, term_types = sorted(release.sabs.values()), sorted(release.ttys.values())
    sources = [sab for sab in dict.fromkeys(filters.sources) if sab in found] or found
    precedence = precedence_of(release.sabs, sources, release.ttys, term_types, release.ranks)
    cuis, names, words = _write_names(release, precedence, folder, filters, progress)
    index = _index_of(cuis)
    kept_ids = _write_concepts(folder, cuis, ids)
    type_names = _write_types(release, folder, index, len(cuis))
    edge_sources, edges, cut_edges = write_is_a(
        release, folder, lambda at: cui_text(int(cuis[at])) if kept_ids is None else kept_ids[at].as_py(), index, len(cuis)
    )
    counts = {"concepts": len(cuis), "names": names, "is_a": edges, "words": words, "cut_edges": len(cut_edges)}
    lists = {"sources": sources, "term_types": term_types, "semantic_types": type_names, "edge_sources": edge_sources}
    return {"counts": counts, **lists, **write_relations(release.relations, folder, index, len(cuis))}, cut_edges


def _write_names(
    release: Release, precedence: Precedence, folder: Path, filters: VocabularyFilters, progress: OnBytes | None
) -> tuple[Int32s, int, int]:
    """Writes the names, in order of concept and key, and the words.

    Returns the concepts' CUI numbers, ascending, and how many names and words there are.
    """
    stage, total = "names", len(release.atoms)
    work = partial(_names_and_words, precedence, _cuis_of_types(release, filters.semantic_types))
    cui_parts = [np.zeros(0, np.int32)]
    concepts = 0
    with ExitStack() as stack:
        texts = stack.enter_context(StringsWriter(folder, "name"))
        first, concept, key = (
            stack.enter_context(ArrayWriter(folder / f"{name}.npy", dtype))
            for name, dtype in (("concept_names", np.int64), ("name_concept", np.int32), ("name_key", np.int64))
        )
        words = stack.enter_context(WordFiles(folder.parent))
        for done, (names, names_words) in enumerate(map_in_order(work, release.atoms), 1):
            cuis, start, position = np.unique(names.cui, return_index=True, return_inverse=True)
            words.add(names_words, key.length)
            first.add(key.length + start)
            concept.add(concepts + position)
            texts.add(names.text)
            key.add(names.key)
            cui_parts.append(cuis)
            concepts += len(cuis)
            if progress:
                progress(stage, done, total)
        first.add(np.array([key.length]))
        word_count = words.write(folder)
    return np.concatenate(cui_parts), key.length, word_count


def _write_concepts(folder: Path, cuis: Int32s, ids: pa.Array | None) -> pa.Array | None:
    """Writes the concepts of these numbers; returns their ids, which `ids` has at these positions, None where they are CUIs."""
    if ids is None:
        save_arrays(folder, {"concept_cui": cuis})
        return None
    save_arrays(folder, {"concept_cui": np.arange(len(cuis), dtype=np.int32)})
    kept = ids.take(pa.array(cuis))
    write_strings(folder, "concept_id", [kept])
    return kept


def _names_and_words(precedence: Precedence, kept: Int32s | None, atoms: pa.Table) -> tuple[Names, Words]:
    if kept is not None:
        atoms = atoms.filter(pa.array(np.isin(atoms.column("cui").to_numpy(), kept)))
    names = names_of(atoms, precedence.keys(atoms))
    return names, words_of(names.text)


def _cuis_of_types(release: Release, semantic_types: tuple[str, ...]) -> Int32s | None:
    """Concepts with one of these TUIs, or None: all."""
    if not semantic_types:
        return None
    cui, tui, _ = release.types.rows()
    codes = [code for code, text in enumerate(release.tuis.values()) if text in semantic_types]
    return cui[np.isin(tui, codes)]


def _write_types(release: Release, folder: Path, index: Int32s, concepts: int) -> dict[str, str]:
    """Writes the kept concepts' semantic types; returns what each TUI is called. `index` as `_index_of` makes it."""
    cui, tui, name = release.types.rows()
    known = index[cui] >= 0
    cui, tui, name = cui[known], tui[known], name[known]
    called = release.called(tui, name)
    place = {text: position for position, text in enumerate(sorted(called))}
    places = np.array([place.get(text, 0) for text in release.tuis.values()], np.int32)
    concept, _, code = unpack(np.unique(pack(index[cui], 0, places[tui])))
    row_pointers, _ = adjacency(concept, concepts)
    save_arrays(folder, {"concept_types": row_pointers, "types": code.astype(np.uint8)})
    return {text: called[text] for text in place}


def _index_of(cuis: Int32s) -> Int32s:
    """The concept's position for every CUI number there can be, int32, [10^7]; -1 where it is not kept."""
    index = np.full(10**7, -1, np.int32)
    index[cuis] = np.arange(len(cuis), dtype=np.int32)
    return index
