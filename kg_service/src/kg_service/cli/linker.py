"""`kg-service linker`: fits the linker to labelled captions and scores it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from nbclip.errors import InvalidInput

from kg_service.cli.options import (
    Column,
    Data,
    FileFormat,
    LinkerName,
    Prior,
    Separator,
    VocabularyFolder,
    columns,
    end_if_bad,
    settings_of,
)
from kg_service.cli.shown.console import note, progress_bar, stdout
from kg_service.cli.shown.mentions import evaluation_tables, score_rows, score_table
from kg_service.ingest.readers import ReadOptions
from kg_service.storage.replacement import write_file
from kg_service.storage.sweeping import noted
from kg_service.vocabulary.model import BadRow

if TYPE_CHECKING:
    from kg_service.linking.fitting.evaluation import Evaluation, LabelledCaption, Scores
    from kg_service.linking.fitting.scoring import Score
    from kg_service.linking.model import Linker
    from kg_service.vocabulary.vocabulary import Vocabulary

_LEAST_KNOWN = 0.1
"""Smallest share of the labels that the vocabulary must know."""

linker_app = typer.Typer(no_args_is_help=True, help="Fit the linker to labelled captions, and score it.")

Labelled = Annotated[Path, typer.Argument(help="CSV or TSV with columns caption and cuis, ROCO (.txt) or NDJSON; plain or .gz.")]
Cuis = Annotated[Path | None, typer.Option(help="File of image ids and CUIs, as in ROCO.")]
MaxBad = Annotated[int, typer.Option(min=0, help="Number of bad rows to tolerate.")]


@linker_app.command()
def fit(
    file: Labelled,
    out: Annotated[Path | None, typer.Option(help="Folder for the prior; default: beside the vocabulary.")] = None,
    holdout: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the captions, chosen by hash, to keep for scoring.")
    ] = 0.2,
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    format: FileFormat = None,
    separator: Separator = None,
    column: Column = None,
    cuis: Cuis = None,
    replace_prior: Annotated[bool, typer.Option("--replace", help="Replace a prior that is already in the folder.")] = False,
    max_bad: MaxBad = 0,
) -> None:
    """Learn from labelled captions which words mean which concepts, and score the linker before and after on held-out ones.

    The result is a folder, the prior; set `KG_LINKER_PRIOR` to use it. NDJSON lines with `spans` say where in the caption each
    concept stands; labels without spans work too.

    `kg-service linker fit captions.csv`
    """
    from kg_service.linking.dictionary.linker import LINKER, open_dictionary_linker
    from kg_service.linking.dictionary.prior import prior_folder, save_prior
    from kg_service.linking.fitting.evaluation import findable, kept_names, score, split_by_hash
    from kg_service.linking.fitting.learning import learn
    from kg_service.linking.linkers import settings_of_kind
    from kg_service.vocabulary.vocabulary import open_vocabulary

    settings = settings_of(data=data, vocabulary=vocabulary)
    target = out or prior_folder(settings.vocabulary_folder)
    _refuse_target(target, settings.linker, replace_prior)
    captions, bad = _read(file, ReadOptions(format, columns(column or ()), cuis, separator=separator))
    _refuse_mixture(file, captions)
    known = open_vocabulary(settings.vocabulary_folder)
    _check_labels(file, captions, known)
    chosen = replace(settings_of_kind(LINKER, settings, known), prior=None)
    learned_from, held_out = split_by_hash(captions, holdout)
    if not learned_from:
        raise InvalidInput(f"{file}: no caption to learn from", hint="give more captions, or lower --holdout")
    with progress_bar() as progress:
        progress.add_task(f"fitting to {len(learned_from)} captions", total=None)
        unfitted = open_dictionary_linker(known, chosen)
        learned = learn(learned_from, unfitted)
        with noted(target.parent, settings.data):
            save_prior(learned, target, known, linker=unfitted.name, captions=len(learned_from))
        fitted = open_dictionary_linker(known, replace(chosen, prior=target))
        wanted, with_spans = findable(known, chosen.semantic_types), _with_spans(captions)
        before, after = (score(held_out, linker, wanted, with_spans) for linker in (unfitted, fitted))
        kept = kept_names(held_out, unfitted, fitted)
    stdout().print(f"{fitted.name} in {target}, fitted to {len(learned_from)} captions", soft_wrap=True, markup=False)
    _show_gain(before, after, len(held_out), kept)
    stdout().print(f"to use it: export KG_LINKER_PRIOR={target}", soft_wrap=True, markup=False)
    end_if_bad(bad, len(bad), max_bad, kept="used")


@linker_app.command("evaluate")
def evaluate_linker(
    file: Labelled,
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    linker: LinkerName = None,
    prior: Prior = None,
    format: FileFormat = None,
    separator: Separator = None,
    column: Column = None,
    cuis: Cuis = None,
    faults: Annotated[int, typer.Option(min=0, help="Number of faults of each kind to show, the most frequent first.")] = 10,
    curve: Annotated[bool, typer.Option(help="Also score several thresholds; takes several times as long.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write all scores to.")] = None,
    max_bad: MaxBad = 0,
) -> None:
    """Score the linker on labelled captions: precision and recall, overall, by semantic group and by threshold, and its faults.

    Scores are strict and micro-averaged. A caption's concepts are a set; a span is right if its start, end and concept are right.
    Labels the vocabulary lacks count only in the row *all labels*. Negated mentions count like all others.

    `kg-service linker evaluate captions.csv --json scores.json`
    """
    from kg_service.linking.builder import build_linker
    from kg_service.linking.fitting.evaluation import THRESHOLDS, evaluate, findable, trace_curve
    from kg_service.linking.linkers import linker_settings
    from kg_service.vocabulary.vocabulary import open_vocabulary

    settings = settings_of(data=data, vocabulary=vocabulary, linker=linker, linker_prior=prior)
    captions, bad = _read(file, ReadOptions(format, columns(column or ()), cuis, separator=separator))
    known = open_vocabulary(settings.vocabulary_folder)
    chosen = linker_settings(settings, known)

    def linker_at(min_score: float) -> Linker:
        return build_linker(settings.linker, known, replace(chosen, min_score=min_score))

    with progress_bar() as progress:
        progress.add_task(f"linking {len(captions)} captions", total=None)
        wanted = findable(known, chosen.semantic_types)
        found = evaluate(captions, known, linker_at(chosen.min_score), wanted, faults)
        if curve:
            thresholds = progress.track(THRESHOLDS, description="curve")
            found = replace(found, curve=trace_curve(captions, linker_at, wanted, thresholds))
    _show(found)
    if json_file is not None:
        figures = json.dumps(_figures(found, settings.show_names), indent=1, ensure_ascii=False)
        with noted(json_file.parent, settings.data):
            write_file(json_file, figures.encode() + b"\n")
    end_if_bad(bad, len(bad), max_bad, kept="used")


def _read(file: Path, options: ReadOptions) -> tuple[list[LabelledCaption], list[BadRow]]:
    """The captions of a file and its bad rows; raises InvalidInput if no caption is left."""
    from kg_service.ingest.labelled import read_labelled

    captions: list[LabelledCaption] = []
    bad: list[BadRow] = []
    for row in read_labelled(file, options):
        bad.append(row) if isinstance(row, BadRow) else captions.append(row)
    if not captions:
        first = f"; {bad[0]}" if bad else ""
        raise InvalidInput(
            f"{file}: no labelled caption{first}", hint="columns caption and cuis; see kg-service linker fit --help"
        )
    return captions, bad


def _with_spans(captions: Sequence[LabelledCaption]) -> bool:
    return any(caption.has_spans for caption in captions)


def _refuse_mixture(file: Path, captions: Sequence[LabelledCaption]) -> None:
    with_spans = sum(caption.has_spans for caption in captions)
    if 0 < with_spans < len(captions):
        raise InvalidInput(
            f"{file}: {with_spans} captions have spans, {len(captions) - with_spans} have none",
            hint="fit to captions of one kind; use the others with kg-service linker evaluate",
        )


def _refuse_target(target: Path, linker: str, replace_prior: bool) -> None:
    if linker != "dictionary":
        raise InvalidInput(
            f"only the dictionary linker can be fitted, and KG_LINKER is {linker}",
            hint="KG_LINKER=dictionary kg-service linker fit",
        )
    if (target.is_file() or any(target.glob("*"))) and not replace_prior:
        raise InvalidInput(f"{target} already exists", hint="--replace overwrites it, --out names another folder")


def _check_labels(file: Path, captions: Sequence[LabelledCaption], known: Vocabulary) -> None:
    """Refuses labels the vocabulary hardly knows, and warns if it lacks most of them: they teach nothing."""
    from kg_service.linking.fitting.evaluation import count_labels

    inside, labels = count_labels(captions, known)
    told = f"{labels - inside:,} of {labels:,} labels are not in {known.directory}"
    if labels and inside < _LEAST_KNOWN * labels:
        raise InvalidInput(
            f"{file}: {told}", hint="if they are from another vocabulary, compile that one: kg-service vocabulary build"
        )
    if 2 * inside < labels:
        note(told, "nothing is learned from them; check that they are from this vocabulary and release")


def _show_gain(before: Scores, after: Scores, captions: int, kept: tuple[int, int]) -> None:
    if not captions:
        note("no caption was held out, so there are no scores", "kg-service linker evaluate scores the prior on others")
        return
    rows = zip(score_rows(before, " before").items(), score_rows(after, " after").items(), strict=True)
    stdout().print(f"on {captions} captions held out:")
    stdout().print(score_table(dict(row for pair in rows for row in pair)))
    stdout().print(f"of {kept[1]:,} labelled concepts found by an exact name before, {kept[0]:,} are found after", soft_wrap=True)
    if after.documents.f1 <= before.documents.f1:
        note("the prior does not improve on these captions", "leave KG_LINKER_PRIOR unset, or fit to more captions")


def _show(found: Evaluation) -> None:
    stdout().print(f"{found.captions} captions, {found.linker}", soft_wrap=True, markup=False)
    if found.unknown_labels:
        stdout().print(f"{found.unknown_labels} labelled concepts can not be found (not in the vocabulary, or filtered out)")
    for table in evaluation_tables(found):
        stdout().print(table)


def _figures(found: Evaluation, with_names: bool) -> dict[str, Any]:
    """A whole evaluation for programs: counts, with their ratios."""
    figures = asdict(found) | {"groups": {name: _figure(each) for name, each in found.groups.items()}}
    figures["scores"] = {
        name: _figure(each) for name, each in (
            ("documents", found.scores.documents), ("spans", found.scores.spans), ("of_all", found.scores.of_all)
        )
    }  # fmt: skip
    figures["curve"] = [
        {"min_score": point.min_score, "documents": _figure(point.documents), "spans": _figure(point.spans)}
        for point in found.curve
    ]
    if not with_names:
        for fault in (*figures["false_positives"], *figures["false_negatives"]):
            fault["name"] = ""
    return figures


def _figure(score: Score | None) -> dict[str, float] | None:
    if score is None:
        return None
    return {**asdict(score), "precision": score.precision, "recall": score.recall, "f1": score.f1}
