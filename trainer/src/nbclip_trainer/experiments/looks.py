"""What of an experiment is there to be looked at: arms over their floors, training curves by arm, a gallery.

Shape legend: R runs of an arm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nbclip_trainer.config.saved import read_config
from nbclip_trainer.errors import BadImage
from nbclip_trainer.experiments.document import Block, Section, Text, Web, templates
from nbclip_trainer.experiments.judgement import ArmRow, Judgement
from nbclip_trainer.experiments.layout import Layout, Run
from nbclip_trainer.experiments.linked import linked_names
from nbclip_trainer.experiments.observations import CLASS_TASKS
from nbclip_trainer.experiments.pages import Looks
from nbclip_trainer.report.curves import FLOOR, INK, RUN_COLOURS, points, svg_of
from nbclip_trainer.report.gallery import Exhibits, Retriever, class_gallery, credits_of, cui_gallery
from nbclip_trainer.runs.results import Evaluation, read_scored
from nbclip_trainer.runs.tracking import read_metrics

_COLUMNS = 4
_TITLE_WIDTH = 36
_POINTS = 60
"""Of a line of training losses, drawn at most."""
_QUERIES = (3, 2)
"""By class and by concepts."""
Curves = dict[str, list[tuple[list[int], list[float]]]]
"""Steps and values of each run, by arm."""


def looks_of(layout: Layout, judgement: Judgement) -> Looks:
    """Reads what is to be looked at from an experiment's folder, all of whose runs are scored.

    Raises:
        NBClipError: a run is damaged. A picture that is gone is no error: then there is no gallery, and the page says why.
    """
    return Looks(
        (_standings(layout, judgement),),
        (Section("Training, by arm", tuple(_training(layout))), Section("Gallery", tuple(_gallery(layout)))),
    )


def _standings(layout: Layout, judgement: Judgement) -> Web:
    """The arms' endpoint with its intervals, over what needs no training."""
    rows = list({row.arm: row for table in judgement.tables for row in table.rows}.values())
    first = layout.reported()[0]
    rankers = {"chance": "chance", "raw pixels": "raw pixels"}
    tower, is_an_arm = read_config(layout.run_dir(first)).model.image, {arm.scored for arm in layout.grid.arms.values()}
    if tower.unlocked == 0 and tower.lora is None and "backbone" not in is_an_arm:
        rankers["backbone"] = "frozen features"
    floors = {
        pictures: _floors(read_scored(layout.evaluation_dir(first, pictures)).evaluation, layout.grid.endpoint.metric, rankers)
        for pictures in layout.grid.sets
    }

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(floors), sharey=True, squeeze=False)[0]
        for axes, (pictures, values) in zip(panels, floors.items(), strict=True):
            _draw_arms(axes, judgement, rows, pictures, values)
            axes.set_title(pictures if len(floors) > 1 else "", fontsize=9, loc="left", pad=16)
            axes.set_xlabel(f"{layout.grid.endpoint.metric}, per cent, mean of the class tasks")
        panels[0].set_yticks(range(len(rows)), [row.title for row in rows])
        panels[0].set_ylim(len(rows) - 0.5, -0.5)

    svg = svg_of("standings", draw, (11, 1.3 + 0.27 * len(rows)))
    return _drawing(svg, "Arms as means over seeds with 95 % intervals; rules are what needs no training.")


def _floors(evaluation: Evaluation, metric: str, rankers: Mapping[str, str]) -> dict[str, float]:
    """Per cent, mean of the class tasks, by the names that rankers have here."""
    found: dict[str, list[float]] = {}
    for one in evaluation.figures:
        place = one.direction, one.subset, one.metric
        is_asked = one.ranker in rankers and one.task in CLASS_TASKS and place == ("image→image", "all", metric)
        if is_asked and one.value is not None:
            found.setdefault(rankers[one.ranker], []).append(100 * one.value)
    return {name: fmean(values) for name, values in found.items()}


def _draw_arms(axes: Axes, judgement: Judgement, rows: Sequence[ArmRow], pictures: str, floors: Mapping[str, float]) -> None:
    for name, value in floors.items():
        axes.axvline(value, color=FLOOR, linewidth=1.4)
        axes.annotate(name, (value, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points", ha="center")
    for place, row in enumerate(rows):
        if (estimate := row.figures.get((pictures, judgement.endpoint))) is not None:
            colour = RUN_COLOURS[0] if judgement.grid.arms[row.arm].is_trained else INK
            axes.plot(estimate.interval(), [place, place], color=colour, linewidth=1.8)
            axes.plot(estimate.value, place, marker="o", markersize=5, color=colour)
    axes.grid(visible=True, axis="x")


def _training(layout: Layout) -> Iterator[Block]:
    grid, first = layout.grid, layout.reported()[0]
    by = grid.choose.by if grid.choose else read_config(layout.run_dir(first)).checkpoint.best_by
    records = {run: list(read_metrics(layout.run_dir(run))) for run in layout.reported()}
    panels = (
        ("valid", by, f"Validation: {by}", True),
        ("train", "loss", "Training loss", False),
        ("diagnostics", "logit_scale", "Logit scale", True),
    )
    for kind, name, title, compared in panels:
        curves = {arm: [points(found, kind, name) for run, found in records.items() if run.arm == arm] for arm in grid.trained}
        if any(steps for lines in curves.values() for steps, _ in lines):
            svg = _drawn_by_arm(f"arms-{kind}-{name}", {grid.arms[arm].title: lines for arm, lines in curves.items()}, compared)
            said = "Thin: each run. Thick: their mean."
            beside = f" Dashed: the mean of {grid.arms[first.arm].title}." if compared else " Losses of different kinds differ."
            yield _drawing(svg, said + beside, title)


def _drawn_by_arm(name: str, curves: Curves, compared: bool) -> str:
    """Small multiples, one an arm; where arms can be compared they share an axis and the first arm's mean."""
    rows = -(-len(curves) // _COLUMNS)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, _COLUMNS, sharex=True, sharey=compared, squeeze=False).flatten().tolist()
        reference = _mean(next(iter(curves.values())))
        for axes, (title, lines) in zip(panels, curves.items(), strict=False):
            for steps, values in lines:
                every = max(1, len(steps) // _POINTS)
                axes.plot(steps[::every], values[::every], color=RUN_COLOURS[0], linewidth=0.5, alpha=0.5)
            if compared:
                axes.plot(*reference, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.plot(*_mean(lines), color=RUN_COLOURS[0], linewidth=1.8)
            axes.set_title(fill(title, _TITLE_WIDTH), fontsize=8, loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
        for axes in panels[len(curves) :]:
            axes.set_visible(False)
        figure.supxlabel("step", fontsize=9, color=INK)

    return svg_of(name, draw, (11, 0.3 + 1.7 * rows))


def _mean(lines: Sequence[tuple[list[int], list[float]]]) -> tuple[list[int], list[float]]:
    """At each step the mean of the runs that have it, thinned as they are."""
    at: dict[int, list[float]] = {}
    for steps, values in lines:
        every = max(1, len(steps) // _POINTS)
        for step, value in zip(steps[::every], values[::every], strict=True):
            at.setdefault(step, []).append(value)
    return sorted(at), [fmean(at[step]) for step in sorted(at)]


def _gallery(layout: Layout) -> Iterator[Block]:
    grid = layout.grid
    pictures = next(iter(grid.sets))
    of_arm = {run.arm: run for run in reversed(layout.reported())}
    scored = read_scored(layout.evaluation_dir(layout.reported()[0], pictures))
    exhibits = Exhibits(
        replace(scored, names={**linked_names(layout.folder), **scored.names}),
        list(_retrievers(layout, of_arm, pictures)),
        read_config(layout.run_dir(layout.reported()[0])).data.max_pixels,
    )
    try:
        answered = class_gallery(exhibits, _QUERIES[0]), cui_gallery(exhibits, _QUERIES[1])
    except BadImage as error:
        yield Text(f"None: {error.message}", "alarm")
        return
    linked = exhibits.scored.evaluation.linked
    yield Web(
        templates()
        .get_template("experiments/gallery.html.j2")
        .render(
            galleries=list(zip(("By modality and organ", "By shared concepts"), answered, strict=True)),
            labels=exhibits.labels,
            linker=linked and linked.linker,
            credits=credits_of([*answered[0], *answered[1]]),
            seed=exhibits.seed,
            run=layout.reported()[0],
            pictures=pictures,
        )
    )


def _retrievers(layout: Layout, of_arm: Mapping[str, Run], pictures: str) -> Iterator[Retriever]:
    """The first run of each trained arm, and the features that an arm reads of another's."""
    for name, arm in layout.grid.arms.items():
        run, features = of_arm.get(arm.reads or name), {"model": "image", "backbone": "backbone"}.get(arm.scored)
        if run is not None and features is not None:
            found = read_scored(layout.evaluation_dir(run, pictures)).features
            yield Retriever(arm.title, 0, found[features])


def _drawing(svg: str, says: str, title: str = "") -> Web:
    return Web(templates().get_template("experiments/drawing.html.j2").render(svg=svg, says=says, title=title))
