"""`nbclip evaluate`, `report` and `export`: what is done with a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nbclip_trainer.cli.console import err, out
from nbclip_trainer.cli.options import Checkpoint, Data, Device, KeyFile, ServiceUrl, Which

if TYPE_CHECKING:
    from nbclip_trainer.evaluation.ontology import Ontology


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Data = None,
    checkpoint: Checkpoint = None,
    split: Annotated[str, typer.Option(help="Split whose images are queries and gallery.")] = "retrieval",
    service: ServiceUrl = None,
    key_file: KeyFile = None,
    ancestors: Annotated[Path | None, typer.Option(help="JSON of CUI to all its ancestors, instead of the service.")] = None,
    min_class_size: Annotated[int, typer.Option(min=2, help="Smaller classes are distractors, never queries.")] = 30,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="data.columns.*=… or data.max_pixels=…; only with --out; repeatable.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to create, for an evaluation that is not the run's own.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Score a run: P@K, mAP and CUI@K in every direction, with intervals, beside raw pixels and chance.

    P@K needs one of the columns modality, organ, modality_organ; CUI@K needs cuis. A column group keeps a query's own case
    out of its gallery.

    [bold]Examples[/bold]

    [cyan]nbclip evaluate runs/nbclip[/cyan]

    With cui_onto@K, whose is_a comes from a running service:
    [cyan]nbclip evaluate runs/nbclip --service http://127.0.0.1:8080[/cyan]

    [cyan]nbclip evaluate runs/nbclip --data metadata.csv --split retrieval --checkpoint best[/cyan]

    On other data, beside the run's own evaluation, which the model card keeps showing; nbclip report takes the folder too:
    [cyan]nbclip evaluate runs/nbclip --data other.csv --set data.columns.caption=text --out runs/nbclip-on-other[/cyan]
    """
    from nbclip_trainer.evaluation.evaluate import evaluate_run
    from nbclip_trainer.parallel.settings import DeviceSettings
    from nbclip_trainer.parallel.world import alone
    from nbclip_trainer.runs.results import ScoringProtocol

    with open_ontology(ancestors, service, key_file) as ontology:
        metrics = evaluate_run(
            run,
            data or (),
            checkpoint=_chosen(run, checkpoint),
            protocol=ScoringProtocol(class_split=split, cui_splits=(split,), minimum_class_size=min_class_size),
            ontology=ontology,
            overrides=settings or (),
            out=folder,
            device=str(alone(DeviceSettings(name=device)).device),
            say=err().print,
        )
    out().print(str(metrics), soft_wrap=True)


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of evaluated runs, or of evaluations made with --out; at most six.")
    ],
    out_file: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write.")] = Path("report.html"),
    baseline: Annotated[Path | None, typer.Option(help="Run to compare with; default: the first without knowledge.")] = None,
) -> None:
    """Compare evaluated runs in one HTML file: curves, figures with intervals, a gallery of what was retrieved.

    [bold]Examples[/bold]

    [cyan]nbclip report runs/clip runs/nbclip --out report.html[/cyan]

    Evaluations on other data, each made with nbclip evaluate RUN --data other.csv --out FOLDER:
    [cyan]nbclip report runs/clip-on-other runs/nbclip-on-other --out other.html[/cyan]
    """
    from nbclip_trainer.report.report import write_report

    def say(line: str) -> None:
        err().print(line, soft_wrap=True, markup=False, highlight=False)

    out().print(str(write_report(runs, out_file, baseline=baseline, say=say).absolute()), soft_wrap=True)


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

    return read_config(run).checkpoint.select if checkpoint is None else checkpoint.value


@contextmanager
def open_ontology(ancestors: Path | None, service: str | None, key_file: Path | None) -> Iterator[Ontology | None]:
    """is_a from a file, else from a service, else none."""
    from nbclip_trainer.evaluation.ontology import file_ontology, service_ontology
    from nbclip_trainer.targets.service import service_client

    if ancestors is not None or service is None:
        yield None if ancestors is None else file_ontology(ancestors)
        return
    with service_client(service, key_file) as client:
        yield service_ontology(client)
