"""`kg-service vocabulary`: a release, compiled."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from nbclip.errors import BrokenArtefact, Unavailable

from kg_service.cli.options import Data, VocabularyFolder, end_if_bad, listed, settings_of
from kg_service.cli.shown.console import build_table, file_progress, note, progress_bar, stdout

if TYPE_CHECKING:
    from kg_service.config import Settings
    from kg_service.vocabulary.vocabulary import Vocabulary

vocabulary_app = typer.Typer(
    no_args_is_help=True, help="Compile a vocabulary from UMLS, SNOMED CT or an ontology: names, semantic types, is_a."
)


@vocabulary_app.callback()
def _room() -> None:
    """Its commands stand below."""


@vocabulary_app.command()
def build(
    path: Annotated[
        Path,
        typer.Argument(
            help="UMLS: META, a folder above it, or one with .nlm archives. RF2: folder or zip. Or .obo, .owl, .json."
        ),
    ],
    vocabulary: VocabularyFolder = None,
    data: Data = None,
    source: Annotated[list[str] | None, typer.Option(help="SABs to use, the most trusted first; default: all.")] = None,
    semantic_type: Annotated[list[str] | None, typer.Option(help="TUIs, names or groups of types to use; default: all.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Languages to use; default: ENG.")] = None,
    suppress: Annotated[list[str] | None, typer.Option(help="SUPPRESS values to skip; default: O, E, Y; '' skips none.")] = None,
    is_a: Annotated[
        Literal["rela", "rel", "both"], typer.Option(help="Rows of MRREL that count as is_a. rela: RELA=isa; rel: PAR, CHD.")
    ] = "both",
    part_of: Annotated[bool, typer.Option("--part-of", help="Deprecated, use --relation part_of: read part_of as is_a.")] = False,
    relation: Annotated[
        list[str] | None, typer.Option(help="Relations to have beside is_a, by their RELA; default: KG_RELATIONS, or none.")
    ] = None,
    release: Annotated[str, typer.Option(help="Name of the release; default: the name in its files.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the content, recorded in the manifest.")] = "",
    max_bad: Annotated[int, typer.Option(min=0, help="Number of bad rows to tolerate.")] = 0,
    replace: Annotated[bool, typer.Option("--replace", help="Build it even if the graph has the ids of another one.")] = False,
) -> None:
    """Compile a vocabulary, with the name index that linking uses.

    The content of PATH tells what it is: a UMLS release (MRCONSO.RRF, plain, gzipped, in parts or archives), a SNOMED CT release
    in RF2 (sct2_Concept_Snapshot….txt, in a folder or zip archive; an extension may lie beside the International Edition), or an
    ontology in OBO, in OWL as RDF/XML or as OBO graph in JSON. `pip install 'nbclip-kg-service[ontologies]'` brings the parsers
    of ontologies.

    Bad rows are skipped and reported by file and line. Build before you ingest: a graph keeps the is_a edges of the vocabulary
    it was ingested with. A different vocabulary, or the same one with other relations, needs a new data folder; one that lacks
    most of the graph's concepts is refused. A newer release of the same vocabulary replaces the older one.

    `--relation has_finding_site` keeps Pneumonia has_finding_site Lung as a typed edge; rows of the inverse RELA give the same
    edges.

    Values of `--source`, `--language`, `--semantic-type`, `--suppress` and `--relation` are repeated or separated by commas, in
    any case; one that nothing in the release has is an error.

    Outside the UMLS, SUPPRESS is O of what is inactive or obsolete, and Y of synonyms that are only related or broader, or in no
    language reference set: `--suppress O` takes the latter as names.

    `kg-service vocabulary build umls/2025AB/META --source SNOMEDCT_US --source RADLEX`

    `kg-service vocabulary build SnomedCT_InternationalRF2.zip --relation has_finding_site`

    `kg-service vocabulary build uberon.obo --relation part_of`
    """
    from kg_service.linking.languages import warn_of_languages
    from kg_service.linking.linkers import linker_kind
    from kg_service.vocabulary.builder import build_vocabulary
    from kg_service.vocabulary.model import VocabularyFilters
    from kg_service.vocabulary.vocabulary import open_vocabulary

    settings = settings_of(data=data, vocabulary=vocabulary)
    given = {
        "sources": listed(source, "--source"),
        "semantic_types": listed(semantic_type, "--semantic-type"),
        "languages": listed(language, "--language"),
        "relations": listed(relation, "--relation") or settings.relations,
    }
    chosen = {name: values for name, values in given.items() if values}
    if suppress:
        chosen["suppress"] = listed(suppress)
    if part_of:
        note("--part-of takes part_of for is_a and will go", "--relation part_of makes it an edge of its own")
    is_a_from = (*(("rela", "rel") if is_a == "both" else (is_a,)), *(("part_of",) if part_of else ()))
    filters = VocabularyFilters(is_a=is_a_from, **chosen)
    is_elsewhere = vocabulary is not None and not vocabulary.exists()
    with progress_bar() as progress:
        report = build_vocabulary(
            path,
            settings.vocabulary_folder,
            filters,
            release=release,
            licence=licence,
            progress=file_progress(progress),
            check=None if replace or is_elsewhere else partial(_compare_with_graph, settings),
        )
        progress.add_task(f"index of the {settings.linker} linker", total=None)
        linker_kind(settings.linker).compile(built := open_vocabulary(settings.vocabulary_folder))
    stdout().print(build_table(report, settings.vocabulary_folder))
    for line in report.notes:
        note(line)
    if not report.is_a:
        note("no is_a edge was found, so dk_ek will equal dk", f"check {report.is_a_at}")
    warn_of_languages(built)
    end_if_bad(report.bad_rows, report.bad_row_count, max_bad)


def _compare_with_graph(settings: Settings, built: Vocabulary) -> None:
    """Refuses a vocabulary that lacks most of the graph's concepts; a graph that can't be read is told, and no reason to stop."""
    from kg_service.app.other_ids import refuse_to_replace

    try:
        refuse_to_replace(settings, built)
    except (Unavailable, BrokenArtefact) as error:
        note(f"the graph was not compared with the vocabulary: {error.message}", error.hint)
