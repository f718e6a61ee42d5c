"""`kg-service batch publish`, `export` and `copy`: what becomes of a batch whose shards are all linked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from nbclip.files.rows import MAX_BAD_ROW_SHARE
from nbclip.schemas.snapshots import PublishRequest

from kg_service.cli.graph import FormatName, Merge, Neo4jHome, NewFolder, Replace, Target, copy_to, export_to
from kg_service.cli.options import (
    BAD_ROWS_SHOWN,
    Data,
    MaxBad,
    MaxBadRowShare,
    Shown,
    VocabularyFolder,
    end_if_bad,
    settings_of,
)
from kg_service.cli.shown.console import part_text
from kg_service.cli.snapshot import (
    Current,
    IsAFile,
    OfDataset,
    OfSplit,
    Parameters,
    Rarest,
    Representations,
    ShuffleIsA,
    ShuffleRelations,
    changes_of,
    fitting_settings,
    show_published,
)

if TYPE_CHECKING:
    from kg_service.batch.graph import LinkedGraph
    from kg_service.config import Settings
    from kg_service.vocabulary.model import BadRow
    from kg_service.vocabulary.vocabulary import Vocabulary

Work = Annotated[Path, typer.Argument(metavar="WORK", help="Folder of the batch, on a file system that all jobs see.")]


def publish_batch(
    work: Work,
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    dataset: OfDataset = None,
    split: OfSplit = None,
    representation: Representations = None,
    parameter: Parameters = None,
    shuffle_is_a: ShuffleIsA = None,
    is_a: IsAFile = None,
    shuffle_relations: ShuffleRelations = None,
    rarest_concepts: Rarest = None,
    current: Current = True,
    max_bad: MaxBad = 0,
    max_bad_row_share: MaxBadRowShare = MAX_BAD_ROW_SHARE,
    show: Shown = BAD_ROWS_SHOWN,
) -> None:
    """Freeze a batch whose shards are all linked into a snapshot, make it the current one and print its id.

    The id is that which `kg-service ingest` of the same files into an empty graph and `kg-service snapshot publish` give.
    The graph store is neither read nor written. Rows of one image id with different content are rejected but for the first;
    then, or with too many bad rows, nothing is published.

    `kg-service batch publish work --split train`
    """
    from kg_service.app.publication import publish_part
    from kg_service.batch.records import Published, note_published
    from kg_service.snapshot import SnapshotFolder

    settings = fitting_settings(representation, parameter, data=data, vocabulary=vocabulary)
    linked, known = _opened(work, settings, "published", max_bad, max_bad_row_share, show)
    changes = changes_of(shuffle_is_a, is_a, shuffle_relations, rarest_concepts)
    wanted = PublishRequest(dataset=dataset, split=split, current=current, **changes)
    new_id = publish_part(linked, known, settings, wanted)
    show_published(settings, new_id)
    part = part_text(SnapshotFolder(settings.snapshots_folder).manifest(new_id))
    published = Published(plan=linked.plan.id, snapshot=new_id, data=settings.data.absolute(), part=part, ended=time.time())
    note_published(work, published)


def export_batch(
    format: FormatName,
    work: Work,
    folder: NewFolder,
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    neo4j_home: Neo4jHome = None,
    max_bad: MaxBad = 0,
    max_bad_row_share: MaxBadRowShare = MAX_BAD_ROW_SHARE,
    show: Shown = BAD_ROWS_SHOWN,
) -> None:
    """Write the graph of a batch to files: for a first load of Neo4j, or for analysis.

    The graph is the one that `kg-service ingest` of the same files makes in an empty store. Bad and rejected rows are treated as
    by `batch publish`.

    `kg-service batch export neo4j-admin work import/`
    """
    settings = settings_of(data=data, vocabulary=vocabulary)
    linked, _ = _opened(work, settings, "exported", max_bad, max_bad_row_share, show)
    export_to(folder, linked, settings, format, neo4j_home)


def copy_batch(
    work: Work,
    target: Target,
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    replace: Replace = False,
    merge: Merge = False,
    max_bad: MaxBad = 0,
    max_bad_row_share: MaxBadRowShare = MAX_BAD_ROW_SHARE,
    show: Shown = BAD_ROWS_SHOWN,
) -> None:
    """Write the graph of a batch into a graph store and compare the two; running it again resumes, or changes nothing.

    The graph is the one that `kg-service ingest` of the same files makes in an empty store. Bad and rejected rows are treated as
    by `batch publish`. Login of Neo4j servers: `KG_STORE_USER`, `KG_STORE_PASSWORD`.

    `kg-service batch copy work data/graph.sqlite`
    """
    settings = settings_of(data=data, vocabulary=vocabulary)
    linked, _ = _opened(work, settings, "copied", max_bad, max_bad_row_share, show)
    copy_to(target, linked, settings, named=work, replace=replace, merge=merge)


def _opened(
    folder: Path, settings: Settings, verb: str, max_bad: int, max_share: float, show: int
) -> tuple[LinkedGraph, Vocabulary]:
    """The graph of a batch and its vocabulary; ends as `_end_if_bad`."""
    from kg_service.batch.graph import open_linked
    from kg_service.vocabulary.vocabulary import open_vocabulary

    known = open_vocabulary(settings.vocabulary_folder)
    linked = open_linked(folder, known)
    _end_if_bad(folder, linked.rejected(), f"not {verb} yet", max_bad, max_share, show)
    return linked, known


def _end_if_bad(folder: Path, rejected: Sequence[BadRow], kept: str, max_bad: int, max_share: float, show: int) -> None:
    """Names bad and rejected rows; exits with status 1 if there are more than are tolerated."""
    from kg_service.batch.state import bad_rows, state_of

    state = state_of(folder)
    bad = state.bad_rows.total()
    tolerated = max_bad + (bad if bad <= max_share * state.rows else 0)
    rows = [*islice(bad_rows(folder, state), show), *rejected]
    mend = "fix them, plan the files in a new folder"
    end_if_bad(rows, bad + len(rejected), tolerated, mend, kept=kept, show=show)
