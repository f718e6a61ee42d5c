"""A soak, second by second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from judge import Sample


def plot_soak(path: Path, samples: Sequence[Sample]) -> None:
    """Draws latency, and of a watched process memory, CPU, descriptors and threads over the run's seconds, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "nbclip", "svg.fonttype": "none", "font.size": 8}
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(8, 5), layout="constrained")
    asked = [sample for sample in samples if sample.p50 is not None]
    for name in ("p50", "p99"):
        axes[0, 0].plot([sample.second for sample in asked], [getattr(sample, name) for sample in asked], lw=1, label=name)
    axes[0, 0].set(ylabel="latency, ms", yscale="log")
    drawn = {
        (0, 1): ("memory, MB", {"rss": "RSS", "pss": "PSS", "anonymous": "without mapped files", "children_rss": "children"}),
        (1, 0): ("CPU, % of a core", {"cpu": "service", "children_cpu": "children"}),
        (1, 1): ("count", {"descriptors": "descriptors", "threads": "threads"}),
    }
    watched = [(sample.second, sample.process) for sample in samples if sample.process is not None]
    for place, (unit, names) in drawn.items():
        for name, label in names.items():
            values = [getattr(process, name) for _, process in watched]
            axes[place].plot([second for second, _ in watched], values, lw=1, label=label)
        axes[place].set(ylabel=unit)
        axes[place].set_ylim(bottom=0)
    for axis in axes.flat:
        axis.set(xlabel="seconds")
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
