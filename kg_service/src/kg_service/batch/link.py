"""Links one shard of a plan: the work that executors hand to processes, on this machine or another."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput
from nbclip.files.notes import untold
from nbclip.files.reading import Rows
from nbclip.files.rows import kind_of
from nbclip.files.spans import digest_of

from kg_service.batch.plan import LinkerChoice, Plan, linking_of, read_plan, refuse_other_linking
from kg_service.batch.records import Done, Failed, bad_content, bad_path, linked_path, note_done, note_failed
from kg_service.batch.tables import parquet_of, table_of
from kg_service.graph.settlement import canonical
from kg_service.ingest.pipeline import link_images
from kg_service.ingest.readers import Row, read_items
from kg_service.ingest.unknown import unknown_cuis
from kg_service.linking.model import Linker
from kg_service.storage.artefact import describe_file
from kg_service.storage.replacement import write_file
from kg_service.storage.writing import unwritten
from kg_service.vocabulary.model import BadRow
from kg_service.vocabulary.vocabulary import Vocabulary, open_vocabulary

_AT_ONCE = 2_000
"""Rows that are linked at once."""


@dataclass(frozen=True)
class Batch:
    """A batch as a process is told of it: its folder, the id of the plan there, and the linker."""

    folder: Path
    plan: str
    linker: LinkerChoice


def link_shard(batch: Batch, number: int) -> Done | Failed:
    """Links a shard and says so in the folder; or says there why it can't be read.

    Raises:
        Conflict: this process would link otherwise than the plan says, or the folder has another plan by now.
        Unavailable: the folder can't be written.
    """
    opened, begun, began = open_batch(batch), time.process_time(), time.monotonic()
    with untold():  # of a whole file it was told when the plan was made
        linked = _linked(opened, number)
    try:
        if isinstance(linked, Failed):
            note_failed(batch.folder, number, linked)
            return linked
        write_file(linked_path(batch.folder, number), parquet_of(linked.tables))
        write_file(bad_path(batch.folder, number), bad_content(linked.bad))
        done = _done(batch, number, linked, time.process_time() - begun, time.monotonic() - began)
        note_done(batch.folder, number, done)
    except OSError as error:
        raise unwritten(f"shard {number} can't be kept", batch.folder, error) from error
    return done


@dataclass(frozen=True)
class Opened:
    """A batch as a process links it."""

    plan: Plan
    vocabulary: Vocabulary
    linker: Linker


@functools.lru_cache(maxsize=1)
def open_batch(batch: Batch) -> Opened:
    """What a process keeps from shard to shard.

    Raises:
        NotFound: there is no plan, or no vocabulary.
        Conflict: as `link_shard`.
    """
    plan, vocabulary = read_plan(batch.folder), open_vocabulary(batch.linker.vocabulary)
    if plan.id != batch.plan:
        raise Conflict(f"{batch.folder} has another plan by now", hint="run it again")
    linker = batch.linker.open(vocabulary)
    refuse_other_linking(batch.folder, plan, linking_of(linker, batch.linker.settings, vocabulary))
    return Opened(plan, vocabulary, linker)


@dataclass(frozen=True)
class _Linked:
    """What a shard gave: tables of its images, its bad rows, and where each CUI that the vocabulary lacks was met first."""

    tables: list[pa.Table]
    bad: list[BadRow]
    unknown: dict[str, str]
    without_cuis: int


def _linked(opened: Opened, number: int) -> _Linked | Failed:
    tables, bad, unknown, without_cuis = [], list[BadRow](), dict[str, str](), 0
    try:
        for chunk in _chunks(opened.plan, number):
            bad += [row for row in chunk if isinstance(row, BadRow)]
            rows = [row for row in chunk if isinstance(row, Row)]
            for row in rows:
                for cui in unknown_cuis([row.item], opened.vocabulary):
                    unknown.setdefault(cui, f"{row.file}:{row.line}")
                without_cuis += row.item.cuis == []
            images = link_images([row.item for row in rows], opened.linker)
            tables.append(table_of([row.line for row in rows], [canonical(image) for image in images]))
    except (InvalidInput, BrokenArtefact) as error:
        return Failed(plan=opened.plan.id, reason=error.message, hint=error.hint)
    return _Linked(tables, bad, unknown, without_cuis)


def _chunks(plan: Plan, number: int) -> Iterator[list[Row | BadRow]]:
    """The rows of a shard.

    Raises:
        InvalidInput: its file can't be read as a whole, or is not what it was when the plan was made.
    """
    shard, layout = plan.shards[number], plan.options.layout()
    source = plan.sources[shard.source]
    rows = Rows([source.path], layout, shard.span)
    if rows.size != source.bytes or digest_of(source.path, layout, shard.span) != shard.sha256:
        raise InvalidInput(
            f"{source.path} has changed since it was planned", hint="bring it back as it was, or plan the files in a new folder"
        )
    with closing(read_items(rows, plan.options)) as items:
        while chunk := list(islice(items, _AT_ONCE)):
            yield chunk


def _done(batch: Batch, number: int, linked: _Linked, cpu_s: float, wall_s: float) -> Done:
    return Done(
        plan=batch.plan,
        images=sum(len(table) for table in linked.tables),
        bad_rows=len(linked.bad),
        kinds=Counter(kind_of(row.reason) for row in linked.bad),
        without_cuis=linked.without_cuis,
        unknown_cuis=linked.unknown,
        files=[describe_file(path(batch.folder, number)) for path in (linked_path, bad_path)],
        cpu_s=cpu_s,
        wall_s=wall_s,
        ended=time.time(),
    )
