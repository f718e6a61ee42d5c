"""How the compiler's cost grows with the release."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from release import ATOMS
from watch import Cost

_GOAL_MB = 1024


def plot_growth(path: Path, costs: Mapping[float, Mapping[str, Cost]]) -> None:
    """Draws CPU seconds and peak memory over atoms, by what was done, beside lines of linear growth, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "nbclip", "svg.fonttype": "none", "font.size": 8}
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    atoms = [scale * ATOMS for scale in costs]
    # What a shell does in no time and memory is left out.
    drawn = [what for what in next(iter(costs.values())) if "`" not in what]
    values = {"CPU s": lambda cost: cost.cpu_s, "peak memory, MB": lambda cost: cost.peak_mb}
    for axis, (unit, value) in zip(axes, values.items(), strict=True):
        for what in drawn:
            name, width = what.strip("*"), 2.5 if what.startswith("**") else 1
            axis.loglog(atoms, [value(each[what]) for each in costs.values()], "o-", label=name, lw=width, ms=3)
        axis.set(xlabel="rows of MRCONSO", ylabel=unit)
        axis.grid(alpha=0.3)
    top = max(each["**vocabulary**"].cpu_s for each in costs.values())
    axes[0].loglog(atoms, [top * count / atoms[-1] for count in atoms], "k:", lw=1, label="linear")
    axes[1].axhline(_GOAL_MB, color="k", ls="--", lw=1, label="goal")
    for axis in axes:
        axis.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
