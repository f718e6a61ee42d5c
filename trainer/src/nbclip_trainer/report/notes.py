"""What a reader must know before believing the report: sentences that follow from the runs themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nbclip_trainer.config.tree import config_hash
from nbclip_trainer.evaluation.bootstrap import FEWEST_CASES
from nbclip_trainer.report.compared import Comparison
from nbclip_trainer.report.figure_tables import TASK_NAMES, caption_sources
from nbclip_trainer.runs.selection import early_end

_NAMED_AT_MOST = 10


def honest_notes(comparison: Comparison) -> list[str]:
    """Sentences, the weightiest first."""
    return [
        *_on_evaluations(comparison),
        *_on_leaks(comparison),
        *_on_left_out(comparison),
        *_on_knowledge(comparison),
        *_on_seeds(comparison),
        *_on_length(comparison),
        *_on_averages(comparison),
        *_on_early_ends(comparison),
        *_on_checkpoints(comparison),
        *_on_captions(comparison),
        *_on_intervals(comparison),
        *_on_pairs(comparison),
        *_on_queries(comparison),
        *_on_linked(comparison),
        *_on_ontology(comparison),
    ]


def alarms(comparison: Comparison) -> list[tuple[str, int, str]]:
    """What the runs complained of: run, first step, sentence; each sentence's kind once a run."""
    found: list[tuple[str, int, str]] = []
    for run in comparison.runs:
        kinds: dict[str, tuple[str, int, str]] = {}
        for record in run.records:
            if record["kind"] == "alarm":
                kinds.setdefault(record["message"].partition(":")[0], (run.name, record["step"], record["message"]))
        found += kinds.values()
    return found


def _on_evaluations(comparison: Comparison) -> Iterator[str]:
    for run in comparison.runs:
        evaluation = run.scored.evaluation
        if run.of_run:
            read = f", read with {', '.join(evaluation.settings)}" if evaluation.settings else ""
            yield f"{run.name} is an evaluation of {run.of_run} on {evaluation.asked}{read}; the run's own may be on other data."


def _on_leaks(comparison: Comparison) -> Iterator[str]:
    for run in comparison.runs:
        for leak in run.facts.get("leaks", ()):
            yield f"{run.name} was trained with a leak, allowed by data.allow_leaks: {leak}."


def _on_left_out(comparison: Comparison) -> Iterator[str]:
    for run in comparison.runs:
        if rows := run.facts.get("bad_rows", {}).get("count"):
            yield f"{run.name} left out {rows} rows of its files that can't be used; its run.json names the first."
        if run.left_out:
            named = ", ".join(f"{one.image_id} ({one.reason.rpartition('/')[2]})" for one in run.left_out[:_NAMED_AT_MOST])
            rest = f" and {len(run.left_out) - _NAMED_AT_MOST} more" if len(run.left_out) > _NAMED_AT_MOST else ""
            yield f"{run.name} left out {len(run.left_out)} images that can't be decoded: {named}{rest}."


def _on_knowledge(comparison: Comparison) -> Iterator[str]:
    knowledge = {run.config.targets.knowledge for run in comparison.runs}
    informed = knowledge & {"dk", "dk_ek"}
    if informed and "noise" in knowledge:
        yield (
            "Soft targets smooth labels whatever they know. What a noise run gains over one-hot targets is that smoothing; "
            "only what a knowledge run gains beyond it is knowledge."
        )
    elif informed:
        yield (
            "No run with noise targets of the same form stands here. Soft targets smooth labels whatever they know, and this "
            "report can't tell how much of a difference is that smoothing."
        )
    elif knowledge == {"identity", "noise"}:
        yield "The soft targets here are noise: any gain over one-hot targets is label smoothing, not knowledge."
    if informed == {"dk_ek"}:
        yield "No run has domain knowledge without is_a (dk), so nothing here is evidence for an effect of the ontology."


def _on_seeds(comparison: Comparison) -> Iterator[str]:
    arms = Counter(config_hash(run.config.model_copy(update={"seed": 0})) for run in comparison.runs)
    if 1 in arms.values():
        yield (
            "At least one arm is a single training run. The intervals are over queries, for these very weights: another seed "
            "moves figures by about .01, which no interval here includes."
        )


def _on_length(comparison: Comparison) -> Iterator[str]:
    steps = {run.name: run.facts.get("steps") for run in comparison.runs}
    if len(set(steps.values())) > 1:
        yield "The runs differ in length: " + ", ".join(f"{name} {count} steps" for name, count in steps.items()) + "."


def _on_averages(comparison: Comparison) -> Iterator[str]:
    averaged = [run.name for run in comparison.runs if run.scored.evaluation.averaged]
    if averaged:
        others = "" if len(averaged) == len(comparison.runs) else "; the others by their last weights"
        yield f"{', '.join(averaged)}: scored by an average of the weights over the steps{others}."


def _on_early_ends(comparison: Comparison) -> Iterator[str]:
    for run in comparison.runs:
        validations, planned = [record for record in run.records if record["kind"] == "valid"], run.facts.get("steps", 0)
        if validations and (done := validations[-1]["step"]) < planned:
            config = run.config
            why = early_end(validations, config.checkpoint.best_by, config.validation, planned // config.epochs)
            yield from [f"{run.name} ended early, after step {done} of {planned}: {why}."] if why else []


def _on_checkpoints(comparison: Comparison) -> Iterator[str]:
    rules = {(run.scored.evaluation.checkpoint, run.scored.evaluation.best_by) for run in comparison.runs}
    if len(rules) > 1:
        chosen = ", ".join(f"{run.name} {run.scored.evaluation.chosen}" for run in comparison.runs)
        yield f"The checkpoints were chosen by different rules, which favours the run that was chosen by what is shown: {chosen}."


def _on_captions(comparison: Comparison) -> Iterator[str]:
    sources = caption_sources(comparison.baseline)
    made = sum(count for name, count in sources if name != "real")
    if made:
        whole = sum(count for _, count in sources)
        yield (
            f"{made:,} of {whole:,} scored images have captions made from labels or from answers to questions, which name the "
            "class outright. The figures by source show real captions apart."
        )


def _on_intervals(comparison: Comparison) -> Iterator[str]:
    level = comparison.baseline.scored.evaluation.protocol.level
    yield (
        f"Intervals are {level:.0%} bootstrap percentiles over queries; images of one case are drawn together, and of under "
        f"{FEWEST_CASES} cases no interval is drawn. Many differences are shown: expect about one in "
        f"{round(1 / (1 - level))} to exclude 0 by luck."
    )


def _on_pairs(comparison: Comparison) -> Iterator[str]:
    evaluation = comparison.baseline.scored.evaluation
    equal = evaluation.class_pictures - evaluation.distinct_captions
    if evaluation.distinct_captions and equal:
        yield (
            f"Of the {evaluation.class_pictures:,} captions scored {equal:,} are equal to another one. Recall@K counts each "
            "equal caption as right, and chance knows it; where few captions are distinct, Recall@K is easy."
        )


def _on_queries(comparison: Comparison) -> Iterator[str]:
    evaluation, figures = comparison.baseline.scored.evaluation, comparison.baseline.figures
    for task, name in TASK_NAMES.items():
        figure = figures.get(("model", "image→image", task, "all", "mAP"))
        if figure is not None and figure.unanswered:
            yield f"{name}: {figure.unanswered} queries have no image of their class outside their own case and don't count."
    if evaluation.cui_pictures:
        yield (
            f"CUI@K is scored on {evaluation.cui_pictures:,} images; {evaluation.without_cuis:,} others there have no gold CUIs."
        )


def _on_linked(comparison: Comparison) -> Iterator[str]:
    linked = comparison.baseline.scored.evaluation.linked
    if linked is not None:
        yield (
            f"Figures by linked CUIs are scored on {linked.pictures:,} images whose concepts {linked.linker} found in their "
            "captions. They are not gold, and a run whose targets come from the same linker was trained toward them."
        )


def _on_ontology(comparison: Comparison) -> Iterator[str]:
    evaluation = comparison.baseline.scored.evaluation
    if not evaluation.cui_pictures and evaluation.linked is None:
        return
    if not evaluation.ontology:
        yield "cui_onto@K, which counts is_a relatives as matches, was left out: the evaluation was given no ontology."
    else:
        yield f"The is_a relations of cui_onto@K come from {evaluation.ontology}."
