"""`kg-service batch`: captions in any number to a snapshot, in shards, by as many processes and jobs as there are."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from nbclip.errors import InvalidInput

from kg_service.cli.batched import Work, copy_batch, export_batch, publish_batch
from kg_service.cli.options import (
    Column,
    Data,
    FileFormat,
    LinkerName,
    Prior,
    Relink,
    RowsDataset,
    RowsSplit,
    Separator,
    VocabularyFolder,
    columns,
    settings_of,
)
from kg_service.cli.shown.batches import failures, plan_line, shard_progress, state_lines
from kg_service.cli.shown.console import complain, note, progress_bar, stdout
from kg_service.cli.stopping import resumable

if TYPE_CHECKING:
    from kg_service.batch.link import Batch
    from kg_service.batch.plan import LinkerChoice, Plan
    from kg_service.batch.run import Executor
    from kg_service.config import Settings
    from kg_service.vocabulary.vocabulary import Vocabulary

batch_app = typer.Typer(
    no_args_is_help=True, help="Link millions of captions in shards, in a folder that all jobs see, and publish them."
)


@batch_app.command("plan")
@resumable()
def plan_batch(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Tables, NDJSON, Parquet, shards (.tar), or folders of such files.")
    ],
    work: Work,
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    linker: LinkerName = None,
    prior: Prior = None,
    dataset: RowsDataset = None,
    split: RowsSplit = None,
    format: FileFormat = None,
    separator: Separator = None,
    column: Column = None,
    relink: Relink = False,
    shard_rows: Annotated[int, typer.Option(min=1, help="Rows of a shard: so many a killed process loses.")] = 50_000,
) -> None:
    """Cut files of captions into shards, and write down how they are to be linked.

    The files are read once and must stay as they are until the batch is published. The same files and options give the same
    plan, on any machine.

    `kg-service batch plan captions/ work`
    """
    from kg_service.batch.plan import linking_of, make_plan
    from kg_service.batch.writing import write_plan
    from kg_service.ingest.readers import ReadOptions

    settings = settings_of(data=data, vocabulary=vocabulary, linker=linker, linker_prior=prior)
    options = ReadOptions(format, columns(column or ()), None, dataset, split, relink, separator)
    choice, known = _linker(settings)
    linking = linking_of(choice.open(known), choice.settings, known)
    with progress_bar() as progress:
        task = progress.add_task("reading", total=None)
        plan = make_plan(
            files,
            options,
            linking,
            shard_rows=shard_rows,
            on_file=lambda done, total: progress.update(task, completed=done, total=total),
        )
    write_plan(work, plan)
    stdout().print(plan_line(plan, work), soft_wrap=True, markup=False)


@batch_app.command("run")
@resumable()
def run_batch(
    work: Work,
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    linker: LinkerName = None,
    prior: Prior = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Number of processes; default: KG_LINKER_WORKERS.", show_default=False)
    ] = None,
    shard: Annotated[str, typer.Option("--shard", metavar="I/N", help="Do only what the I-th of N jobs has to do.")] = "1/1",
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Link on a Ray cluster: HOST:PORT, auto, or local, which starts one here."),
    ] = None,
) -> None:
    """Link the shards that are not linked yet. Kill it at any time: running it again goes on, with the same result.

    A shard that can't be read is named, and the others are linked; the exit status is 1 then.

    In a Slurm array of eight jobs: `kg-service batch run work --shard $((SLURM_ARRAY_TASK_ID + 1))/8`

    On a node of a Ray cluster: `kg-service batch run work --ray auto`
    """
    from kg_service.batch.link import Batch
    from kg_service.batch.plan import linking_of, read_plan, refuse_other_linking
    from kg_service.batch.run import part_named, run

    settings = settings_of(data=data, vocabulary=vocabulary, linker=linker, linker_prior=prior)
    part, plan = part_named(shard), read_plan(work)
    choice, known = _linker(settings)
    refuse_other_linking(work, plan, linking_of(choice.open(known), choice.settings, known))
    batch = Batch(work.absolute(), plan.id, choice)
    rows = sum(plan.shards[number].span.rows for number in part.shards(plan))
    with _executor(batch, plan, ray, workers, settings) as execute, progress_bar() as progress:
        failed = run(batch, plan, execute, part=part, on_end=shard_progress(progress, work.name, rows), on_redo=note)
    for what, reason, hint in failures(failed, plan.place):
        complain(f"{what}: {reason}", hint)
    _show_state(work, failures_told=True)
    if failed:
        raise typer.Exit(1)


@batch_app.command("status")
def batch_status(
    work: Work, as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, for programs.")] = False
) -> None:
    """Show how far a batch is, from its folder alone: while jobs run and after, on any machine that sees it."""
    _show_state(work, as_json=as_json)


batch_app.command("publish")(resumable()(publish_batch))
batch_app.command("export")(resumable()(export_batch))
batch_app.command("copy")(resumable()(copy_batch))


def _executor(
    batch: Batch, plan: Plan, ray: str | None, workers: int | None, settings: Settings
) -> AbstractContextManager[Executor]:
    """Where shards are linked: in processes of this machine, or on a Ray cluster."""
    from kg_service.batch.cluster import LOCAL, on_cluster
    from kg_service.batch.local import run_here

    if ray is None:
        return nullcontext(partial(run_here, workers=workers or settings.linker_workers))
    if workers is not None and ray != LOCAL:
        raise InvalidInput("--workers is for processes of this machine", hint="a Ray cluster has one for each of its CPUs")
    return on_cluster(ray, workers or settings.linker_workers, batch, plan)


def _linker(settings: Settings) -> tuple[LinkerChoice, Vocabulary]:
    """The linker that the settings name, and its vocabulary."""
    from kg_service.batch.plan import LinkerChoice
    from kg_service.linking.languages import warn_of_languages
    from kg_service.linking.linkers import linker_settings, paths_of
    from kg_service.vocabulary.vocabulary import open_vocabulary

    known = open_vocabulary(settings.vocabulary_folder)
    warn_of_languages(known)
    chosen = linker_settings(settings, known)
    # Another process may have another working folder.
    paths: dict[str, Any] = {name: path.absolute() for name, path in paths_of(chosen).items()}
    return LinkerChoice(settings.linker, replace(chosen, **paths), known.directory.absolute()), known


def _show_state(folder: Path, *, as_json: bool = False, failures_told: bool = False) -> None:
    from kg_service.batch.state import state_of

    state = state_of(folder)
    if as_json:
        typer.echo(json.dumps(state.summary(), indent=1))
        return
    for line in state_lines(state, folder, failures_told=failures_told):
        stdout().print(line, soft_wrap=True, markup=False)
