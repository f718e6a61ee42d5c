"""Row purity of TransE's targets against its epochs, beside the default's: how long must it learn?

    python benchmarks/targets/transe_epochs.py metadata.csv http://127.0.0.1:8080 [--epochs 20 200 800] [--seeds 1 2]

Publishes a snapshot of the split `train` for each number of epochs and seed, with TransE without is_a (`dk`) and with it
(`dk_ek`), images by nodes of their own; then looks at the target rows of an epoch's batches, as `nbclip targets inspect` does.
Writes `docs/targets/transe-epochs.svg` and prints the table of `docs/targets.md`. The service's process learns; its CPU time is
not this one's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
from nbclip.client import Service
from nbclip.schemas.snapshots import PublishRequest
from nbclip_trainer.config.reading import config_of
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.training.inspected import SourceFigures
from nbclip_trainer.training.inspection import inspect_targets

_PLOT = Path(__file__).parents[2] / "docs" / "targets" / "transe-epochs.svg"
_FORM = {"neighbour_mass": 0.8, "effective_neighbours": 16, "duplicates": "positive"}
"""Of the grid `tables`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="table of the images, as the trainer takes it")
    parser.add_argument("service", help="address of a service that has ingested it")
    parser.add_argument("--epochs", type=int, nargs="+", default=[20, 50, 100, 200, 400, 800, 1600])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    named = []
    with Service(arguments.service) as service:
        for epochs in arguments.epochs:
            for seed in arguments.seeds:
                transe = {"images": "own", "epochs": epochs, "seed": seed}
                made = service.publish(PublishRequest(split="train", representations={"transe": transe}, current=False))
                print(f"{epochs} epochs, seed {seed}: {made.id}", flush=True)
                for knowledge in ("dk", "dk_ek"):
                    chosen = {"knowledge": knowledge, "representation": "transe", "snapshot": made.id}
                    named.append((f"{knowledge} {epochs}", _config(arguments, chosen)))
        made = service.publish(PublishRequest(split="train", representations={"hybrid": {}}, current=False))
        named.append(("hybrid", _config(arguments, {"knowledge": "dk_ek", "snapshot": made.id})))
    found = {source.name: source for source in inspect_targets(named).sources}
    print(f"| epochs | {' | '.join(f'{knowledge}: {column}' for knowledge in ('dk', 'dk_ek') for column in _columns(found))} |")
    for epochs in arguments.epochs:
        cells = [f"{value:.3f}" for knowledge in ("dk", "dk_ek") for value in _purities(found[f"{knowledge} {epochs}"])]
        print(f"| {epochs} | {' | '.join(cells)} |")
    print(f"| default | | | | {' | '.join(f'{value:.3f}' for value in _purities(found['hybrid']))} |")
    _plot(found, arguments.epochs)


def _config(arguments: argparse.Namespace, targets: dict[str, object]) -> TrainConfig:
    tree = {"service": {"url": arguments.service}, "loss": {"name": "sm"}, "targets": {**_FORM, **targets}}
    return config_of(tree, [f"data.files=[{arguments.data.absolute()}]"])


def _columns(found: dict[str, SourceFigures]) -> list[str]:
    return [purity.column for purity in next(iter(found.values())).purity]


def _purities(source: SourceFigures) -> list[float]:
    return [purity.purity.value or float("nan") for purity in source.purity]


def _plot(found: dict[str, SourceFigures], epochs: list[int]) -> None:
    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "nbclip", "svg.fonttype": "none", "font.size": 8}
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.4), layout="constrained")
    for place, (axes, column) in enumerate(zip(figure.subplots(1, 3), _columns(found), strict=True)):
        for knowledge, dashes in (("dk", "--"), ("dk_ek", "-")):
            values = [_purities(found[f"{knowledge} {count}"])[place] for count in epochs]
            axes.plot(epochs, values, dashes, marker="o", markersize=3, color="#2b5fa8", label=f"TransE, {knowledge}")
        axes.axhline(_purities(found["hybrid"])[place], color="#c0540f", linewidth=1, label="hybrid, the default")
        axes.set(xscale="log", title=column, xlabel="epochs of TransE", ylabel="row purity" if place == 0 else None)
    axes.legend(frameon=False)
    figure.savefig(_PLOT, metadata={"Date": None})


if __name__ == "__main__":
    main()
