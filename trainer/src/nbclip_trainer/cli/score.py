"""`nbclip evaluate`, `report` and `export`: what is done with a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from nbclip.errors import InvalidInput
from nbclip.files.addresses import location

from nbclip_trainer.cli.console import err, out
from nbclip_trainer.cli.options import Checkpoint, Data, Device, KeyFile, ServiceUrl, Which

if TYPE_CHECKING:
    from nbclip.client import Service

    from nbclip_trainer.evaluation.ontology import Ontology


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Data = None,
    checkpoint: Checkpoint = None,
    split: Annotated[str, typer.Option(help="Split whose images are queries and gallery.")] = "retrieval",
    service: ServiceUrl = None,
    key_file: KeyFile = None,
    ancestors: Annotated[Path | None, typer.Option(help="JSON of CUI to all its ancestors, instead of the service.")] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Also score CUI@K by the concepts that the service's linker finds in the captions.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Also train a linear probe on the labels of the run's training split.")
    ] = False,
    prompts: Annotated[
        Path | None, typer.Option(help="Templates of the zero-shot ensemble, one a line with {} for the class, instead of ours.")
    ] = None,
    min_class_size: Annotated[int, typer.Option(min=2, help="Smaller classes are distractors, never queries.")] = 30,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="data.columns.*=… or data.max_pixels=…; only with --out; repeatable.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to create, for an evaluation that is not the run's own.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Score a run: Recall@K, P@K, mAP and CUI@K in every direction, with intervals, beside raw pixels and chance.

    Recall@K needs captions alone; P@K one of the columns modality, organ, modality_organ; CUI@K cuis, or --link. A column group
    keeps a query's own case out of its gallery, but for Recall@K.

    [bold]Examples[/bold]

    [cyan]nbclip evaluate runs/nbclip[/cyan]

    With cui_onto@K, whose is_a comes from a running service:
    [cyan]nbclip evaluate runs/nbclip --service http://127.0.0.1:8080[/cyan]

    With CUI@K of every image, by linked concepts, which are no gold ones:
    [cyan]nbclip evaluate runs/nbclip --service http://127.0.0.1:8080 --link[/cyan]

    With a linear probe, in two processes:
    [cyan]torchrun --nproc-per-node 2 -m nbclip_trainer evaluate runs/nbclip --probe[/cyan]

    [cyan]nbclip evaluate runs/nbclip --data metadata.csv --split retrieval --checkpoint best[/cyan]

    On other data, beside the run's own evaluation, which the model card keeps showing; nbclip report takes the folder too:
    [cyan]nbclip evaluate runs/nbclip --data other.csv --set data.columns.caption=text --out runs/nbclip-on-other[/cyan]
    """
    from nbclip_trainer.evaluation.evaluate import evaluate_run
    from nbclip_trainer.evaluation.linking import link_captions
    from nbclip_trainer.evaluation.prompts import read_templates
    from nbclip_trainer.parallel.settings import DeviceSettings
    from nbclip_trainer.parallel.world import joined
    from nbclip_trainer.runs.results import ScoringProtocol

    if link and service is None:
        raise InvalidInput("--link needs a service", hint="--service http://127.0.0.1:8080")
    chosen = {} if prompts is None else {"prompts": read_templates(prompts)}
    protocol = ScoringProtocol(class_split=split, cui_splits=(split,), minimum_class_size=min_class_size, **chosen)
    asked = service if link or ancestors is None else None
    with joined(DeviceSettings(name=device)) as world, opened(asked, key_file) as client:
        metrics = evaluate_run(
            run,
            [location(text) for text in data or ()],
            checkpoint=_chosen(run, checkpoint),
            protocol=protocol,
            ontology=chosen_ontology(ancestors, client),
            link=partial(link_captions, client) if link and client is not None else None,
            with_probe=probe,
            overrides=settings or (),
            out=folder,
            world=world,
            say=err().print if world.leads else lambda line: None,
        )
    if world.leads:
        out().print(str(metrics), soft_wrap=True)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of evaluated runs, or of evaluations made with --out, at most six; or one folder of nbclip experiment."
        ),
    ],
    out_file: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")] = Path("report.html"),
    baseline: Annotated[Path | None, typer.Option(help="Run to compare with; default: the first without knowledge.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page; default: what is compared with what, in words.")] = None,
) -> None:
    """Compare evaluated runs in one HTML file: curves, figures with intervals, a gallery of what was retrieved.

    [bold]Examples[/bold]

    [cyan]nbclip report runs/clip runs/nbclip --out report.html[/cyan]

    Evaluations on other data, each made with nbclip evaluate RUN --data other.csv --out FOLDER:
    [cyan]nbclip report runs/clip-on-other runs/nbclip-on-other --out other.html[/cyan]

    An experiment as far as it is, its arms as means over seeds:
    [cyan]nbclip report runs/tables --out tables.html[/cyan]
    """
    from nbclip_trainer.experiments.layout import holds_grid

    if grid := next(filter(holds_grid, runs), None):
        _report_grid(grid, runs, out_file, baseline, title)
        return
    from nbclip_trainer.report.report import write_report

    def say(line: str) -> None:
        err().print(line, soft_wrap=True, markup=False, highlight=False)

    out().print(str(write_report(runs, out_file, baseline=baseline, title=title, say=say).absolute()), soft_wrap=True)


def _report_grid(grid: Path, runs: list[Path], out_file: Path, baseline: Path | None, title: str | None) -> None:
    from nbclip_trainer.experiments.gathering import write_report

    if len(runs) > 1:
        raise InvalidInput(
            f"{grid}: the folder of an experiment is reported alone", hint=f"compare single runs by their folders in {grid}/runs"
        )
    if baseline is not None:
        raise InvalidInput(
            f"--baseline {baseline}: {grid} is an experiment, whose grid says what is compared", hint="leave --baseline out"
        )
    out().print(str(write_report(grid, out_file, title=title).absolute()), soft_wrap=True)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder to create.")],
    checkpoint: Checkpoint = None,
) -> None:
    """Write a folder that open_clip loads and the Hugging Face hub accepts, with a model card.

    [bold]Examples[/bold]

    [cyan]nbclip export runs/nbclip --out nbclip-model[/cyan]
    [cyan]python -c 'import open_clip; open_clip.create_model("local-dir:nbclip-model")'[/cyan]
    """
    from nbclip_trainer.trained.export import export_run

    out().print(str(export_run(run, folder, _chosen(run, checkpoint))), soft_wrap=True)


def _chosen(run: Path, checkpoint: Which | None) -> Literal["last", "best"]:
    """The checkpoint asked for, else that of the run's settings."""
    from nbclip_trainer.config.saved import read_config

    return read_config(run).selected if checkpoint is None else checkpoint.value


@contextmanager
def opened(service: str | None, key_file: Path | None) -> Iterator[Service | None]:
    """A connection to a service, None where no URL is given."""
    from nbclip_trainer.targets.service import service_client

    if service is None:
        yield None
        return
    with service_client(service, key_file) as client:
        yield client


def chosen_ontology(ancestors: Path | None, client: Service | None) -> Ontology | None:
    """is_a from a file, else from a service, else none."""
    from nbclip_trainer.evaluation.ontology import file_ontology, service_ontology

    if ancestors is not None:
        return file_ontology(ancestors)
    return None if client is None else service_ontology(client)
