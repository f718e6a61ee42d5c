"""`kg-service ingest`: captions of a file, linked into the graph."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from nbclip.files.rows import MAX_BAD_ROW_SHARE

from kg_service.cli.options import (
    BAD_ROWS_SHOWN,
    Column,
    Data,
    FileFormat,
    LinkerName,
    MaxBad,
    MaxBadRowShare,
    Prior,
    Relink,
    RowsDataset,
    RowsSplit,
    Separator,
    Shown,
    Store,
    VocabularyFolder,
    columns,
    end_if_bad,
    settings_of,
)
from kg_service.cli.shown.console import ingest_line, note, progress_bar, row_progress, stdout, unknown_line
from kg_service.vocabulary.model import BadRow


def ingest(
    file: Annotated[
        Path,
        typer.Argument(help="Table, ROCO (.txt) or NDJSON, plain or .gz; Parquet, a shard (.tar), or a folder of such files."),
    ],
    data: Data = None,
    store: Store = None,
    vocabulary: VocabularyFolder = None,
    linker: LinkerName = None,
    prior: Prior = None,
    dataset: RowsDataset = None,
    split: RowsSplit = None,
    format: FileFormat = None,
    separator: Separator = None,
    column: Column = None,
    cuis: Annotated[
        Path | None, typer.Option(help="File of image ids and CUIs, as in ROCO; these are used instead of linking.")
    ] = None,
    relink: Relink = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace images that are stored with different content.")] = False,
    max_bad: MaxBad = 0,
    max_bad_row_share: MaxBadRowShare = MAX_BAD_ROW_SHARE,
    show: Shown = BAD_ROWS_SHOWN,
) -> None:
    """Link the captions of a file and store them in the graph; running it again changes nothing.

    A row that can't be used is left out, named by file and line, and counted.

    `kg-service ingest examples/rocov2/metadata.csv --dataset rocov2`
    """
    from kg_service.app.wiring import open_graph
    from kg_service.ingest.pipeline import ingest_file
    from kg_service.ingest.readers import ReadOptions
    from kg_service.linking.languages import warn_of_languages
    from kg_service.linking.linkers import linker_settings
    from kg_service.linking.parallel import parallel_linker
    from kg_service.snapshot import SnapshotFolder
    from kg_service.snapshot.vocabulary_check import warn_before_ingest
    from kg_service.vocabulary.vocabulary import open_vocabulary

    settings = settings_of(data=data, store=store, vocabulary=vocabulary, linker=linker, linker_prior=prior)
    known = open_vocabulary(settings.vocabulary_folder)
    warn_before_ingest(SnapshotFolder(settings.snapshots_folder), known)
    warn_of_languages(known)
    linking = parallel_linker(settings.linker, known, linker_settings(settings, known), settings.linker_workers)
    shown: list[BadRow] = []
    with closing(open_graph(settings, bulk=True)) as graph, linking as used, progress_bar() as progress:
        report = ingest_file(
            file,
            graph,
            used,
            known,
            options=ReadOptions(format, columns(column or ()), cuis, dataset, split, relink, separator),
            on_conflict="replace" if replace else "reject",
            on_progress=row_progress(progress, file.name),
            on_problem=lambda problem: shown.append(problem) if len(shown) < show else None,
        )
    stdout().print(ingest_line(report), soft_wrap=True, markup=False)
    if report.unknown_cuis:
        note(
            unknown_line(report), "build the vocabulary from the release that they come from, without filters that leave them out"
        )
    if report.without_cuis:
        note(
            f"images given an empty list of CUIs: {report.without_cuis}, stored without a concept; their captions are not linked",
            "leave the list out or make it null where the caption shall be linked; --relink links all",
        )
    rejected = report.counts.get("rejected", 0)
    mend = "fix them, or --replace what is stored," if rejected else "fix them"
    tolerated = report.bad_rows if report.bad_rows <= max_bad_row_share * report.rows else 0
    end_if_bad(shown, report.bad_rows + rejected, max_bad + tolerated, mend, show=show)
