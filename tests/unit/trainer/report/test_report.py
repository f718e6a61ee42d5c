import base64
import dataclasses
import io
import json
import re
import shutil
from html.parser import HTMLParser

import polars as pl
import pytest
from nbclip.errors import InvalidInput, NotFound
from nbclip_trainer.config.saved import read_config
from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.errors import BadImage
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.losses.mse import SquaredError
from nbclip_trainer.losses.sm import SemanticMatching
from nbclip_trainer.models.settings import TowerSettings
from nbclip_trainer.optimisation.settings import OptimisationSettings
from nbclip_trainer.report.aspects import aspects, title_of, warnings
from nbclip_trainer.report.compared import Comparison, by_key, compare, differing_settings
from nbclip_trainer.report.gallery import Exhibits, Retriever, class_gallery, cui_gallery
from nbclip_trainer.report.report import write_report
from nbclip_trainer.report.standings import standings
from nbclip_trainer.runs.quarantine import Quarantined, write_quarantine
from nbclip_trainer.runs.results import LinkedLabels, ScoringProtocol, own_evaluation, read_scored, write_scored
from nbclip_trainer.trained.export import model_card
from PIL import Image

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Elements with their attributes, the text, and whether every element was closed in order."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self.open = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag, **wanted):
        return [a for t, a in self.elements if t == tag and all(a.get(name) == value for name, value in wanted.items())]


@pytest.fixture(scope="module")
def html(runs, tmp_path_factory):
    return write_report(runs, tmp_path_factory.mktemp("report") / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_every_element_is_closed_and_every_id_is_there_once(page):
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_parts_are_there_and_the_contents_lead_to_them(page):
    parts = {attributes["id"] for attributes in page.all("section")}
    assert parts == {"short", "runs", "training", "targets", "pairs", "classes", "concepts", "sources", "gallery", "notes"}
    assert {attributes["href"] for attributes in page.all("a")} == {f"#{part}" for part in parts}


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs(html, page):
    assert not page.all("script")
    assert not page.all("link")
    assert all(attributes["src"].startswith("data:image/jpeg;base64,") for attributes in page.all("img"))
    assert not re.search(r"url\((?!#)|@import", html)


def test_title_names_the_run_and_the_baseline(page):
    assert "Targets: random neighbours (noise-twin) against one-hot (clip)" in " ".join(page.text)


def test_the_table_of_runs_says_how_large_the_logit_scale_was_and_whether_it_was_fixed(runs, page):
    run = compare(runs).runs[1]
    assert run.logit_scale == f"{run.scored.evaluation.logit_scale:.1f}"
    assert run.logit_scale in page.text
    fixed = run.config.model.model_copy(update={"logit_scale_trains": False})
    assert dataclasses.replace(run, config=run.config.model_copy(update={"model": fixed})).logit_scale.endswith(", fixed")


def with_settings(run, **changes):
    """A run that had other settings."""
    return dataclasses.replace(run, config=run.config.model_copy(update=changes))


def test_what_differs_is_marked_and_what_is_equal_stands_once(runs, html):
    found = {aspect.name: aspect for aspect in aspects(compare(runs).runs)}
    assert {name for name, aspect in found.items() if aspect.differs} >= {"targets", "loss"}
    assert found["targets"].shown == ("one-hot: no knowledge", "random neighbours (noise)")
    table = html.partition('<table class="compared">')[2].partition("</table>")[0]
    rows = re.findall(r"<tr[^>]*>\s*<th scope=\"row\">(.*?)</th>(.*?)</tr>", table, re.DOTALL)
    for name, cells in rows:
        assert ("≠" in name) == (cells.count("<td") == 2) == ('<td class="other">' in cells), name
    same = dict(rows)["training data"]
    assert 'colspan="2"' in same
    assert "metadata.csv, split train, 48 pairs" in same
    assert [name.partition(" <")[0] for name, _ in rows][:2] == ["targets", "loss"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "noise-twin differs from clip in no setting."),
        ({"seed": 7}, "noise-twin differs from clip in one setting alone: seed."),
        ({"seed": 7, "epochs": 9}, "noise-twin differs from clip in length and seed: differences can't be put down to one"),
        ({"loss": SemanticMatching()}, "noise-twin differs from clip in no setting."),
        ({"loss": SquaredError()}, "noise-twin differs from clip in one setting alone: loss."),
        ({"optim": OptimisationSettings(lr=0.5)}, "noise-twin differs from clip in one setting alone: optim.lr."),
    ],
)
def test_runs_that_differ_in_more_than_one_setting_are_told_of(runs, changes, said):
    comparison = compare(runs)
    clip = comparison.baseline
    twin = dataclasses.replace(with_settings(clip, **changes), name="noise-twin", place=2)
    (warning,) = warnings(Comparison((clip, twin), clip))
    assert warning.startswith(said)


def test_logit_scales_that_were_learned_apart_are_told_of(runs):
    clip = compare(runs[:1]).baseline
    other = clip.scored.evaluation.model_copy(update={"logit_scale": 2 * clip.scored.evaluation.logit_scale})
    twin = dataclasses.replace(clip, name="twin", place=2, scored=dataclasses.replace(clip.scored, evaluation=other))
    assert warnings(Comparison((clip, twin), clip)) == [
        "twin differs from clip in one setting alone: the logit scale that each learned."
    ]


def test_a_title_is_what_differs_in_words_and_can_be_given(runs, tmp_path):
    clip = compare(runs[:1]).baseline
    assert title_of(Comparison((clip,), clip)) == "clip: infonce, one-hot targets"
    twin = dataclasses.replace(with_settings(clip, seed=7), name="twin", place=2)
    assert title_of(Comparison((clip, twin), clip)) == "Seed: 7 (twin) against 42 (clip)"
    same = dataclasses.replace(clip, name="twin", place=2)
    assert title_of(Comparison((clip, same), clip)) == "twin against clip"
    page = write_report(runs[:1], tmp_path / "report.html", title="CLIP <alone>").read_text()
    assert "<h1>CLIP &lt;alone&gt;</h1>" in page


def test_frozen_features_are_a_floor_where_the_image_tower_is_locked(runs):
    clip = compare(runs[:1]).baseline
    assert [one.name for one in standings(Comparison((clip,), clip))] == ["chance", "raw pixels", "clip"]
    locked = with_settings(clip, model=clip.config.model.model_copy(update={"image": TowerSettings(unlocked=0)}))
    found = {one.name: one for one in standings(Comparison((locked,), locked))}
    assert list(found) == ["chance", "raw pixels", "frozen features", "clip"]
    before = [clip.figures["backbone", "image→image", task, "all", "P@5"].value for task in CLASS_TASKS]
    assert found["frozen features"].value == pytest.approx(sum(before) / 3)


def test_only_settings_that_differ_are_listed(runs):
    assert [key for key, _ in differing_settings(compare(runs).runs)] == ["loss.name", "targets.knowledge", "targets.noise"]


def test_curves_show_the_loss_with_ln_n_and_the_diagnostics(page):
    text = "".join(page.text)
    for title in ("Training loss", "ln N", "Validation loss", "Spread of cosines", "Logit scale", "Cosine of true pairs"):
        assert title in text


def test_tables_have_floors_runs_and_paired_intervals(page):
    text = "".join(page.text)
    for column in (
        "chance",
        "raw pixels",
        "less clip",
        "cui_precision",
        "caption source: real",
        "caption→caption, before the projection",
        "Recall@10",
        "median rank",
    ):
        assert column in text
    assert re.search(r"[+−]?\.\d{3}\s*\[[+−]?\.\d{3}, [+−]?\.\d{3}\]", text)


def test_bold_are_just_the_differences_whose_interval_excludes_zero(html):
    cells = re.findall(r'class="(delta[^"]*)">[^<]*</span>\s*<span class="interval">\[([^,]*), ([^\]]*)\]', html)
    assert {kind for kind, _, _ in cells} == {"delta", "delta decisive"}
    for kind, low, high in cells:
        # An end that rounds to .000 has no sign to tell which side it is on.
        if ".000" not in {low, high}:
            assert (kind == "delta decisive") == (low[0] == high[0])


def test_the_gallery_marks_hits_and_misses_in_words_too(page):
    figures = [attributes["class"] for attributes in page.all("figure") if attributes.get("class", "").startswith("picture")]
    answers = [name for name in figures if name != "picture asks"]
    assert len(answers) == 2 * 5 * figures.count("picture asks")
    text = "".join(page.text)
    assert len(re.findall(r"[✓◐✗] (?:modality|organ|neither|shares)", text)) == len(answers)


def exhibits_of(runs, **changes):
    scored = [read_scored(run) for run in runs]
    retrievers = [Retriever(run.name, 1, one.features["image"]) for run, one in zip(runs, scored, strict=True)]
    return Exhibits(dataclasses.replace(scored[0], **changes), retrievers, 10**6)


def test_a_query_never_retrieves_its_own_case(runs):
    exhibits = exhibits_of(runs)
    case = dict(exhibits.scored.images.select("image_id", "case").iter_rows())
    for answered in (*class_gallery(exhibits), *cui_gallery(exhibits)):
        for _, found in answered.answers:
            assert all(case[shown.image_id] != case[answered.query.image_id] for shown in found)


@pytest.mark.parametrize("column", ["cui_list", "linked_cui_list"])
def test_the_gallery_names_the_concepts_that_an_image_shares_with_the_query(runs, column):
    names = {f"C000000{number}": f"modality {number}" for number in range(3)}
    scored = read_scored(runs[0])
    cuis = dict(scored.images.select("image_id", "cui_list").iter_rows())
    linked = LinkedLabels(linker="one", service="", pictures=48, without_concepts=0)
    evaluation = scored.evaluation.model_copy(update={"linked": linked if column == "linked_cui_list" else None})
    # By linked concepts all images have those of their case, and one that all share.
    more = pl.col("cui_list").list.concat(pl.lit(["C0000009"])).alias("linked_cui_list")
    exhibits = exhibits_of(runs, names=names, evaluation=evaluation, images=scored.images.with_columns(more))
    shares = set()
    for answered in class_gallery(exhibits):
        for shown in answered.answers[0][1]:
            common = {*cuis[answered.query.image_id]} & {*cuis[shown.image_id]}
            wanted = {names.get(cui, cui) for cui in common}
            if column == "linked_cui_list":
                assert shown.concepts[-1] == "C0000009", "what all have comes last"
                wanted.add("C0000009")
            known = wanted if column == "linked_cui_list" or (cuis[answered.query.image_id] and cuis[shown.image_id]) else None
            assert (None if shown.concepts is None else set(shown.concepts)) == known
            shares |= wanted
    assert any(name.startswith("modality") for name in shares)


def test_captions_can_not_bring_markup_into_the_page(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "clip")
    scored = read_scored(run)

    evil = scored.images.with_columns(pl.lit("<script>alert(1)</script>").alias("caption"))
    write_scored(own_evaluation(run), dataclasses.replace(scored, images=evil))
    page = Page(write_report([run], tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not page.all("script")


def test_the_notes_say_what_noise_targets_and_one_seed_mean(page):
    text = "".join(page.text)
    assert "any gain over one-hot targets is label smoothing, not knowledge" in text
    assert "single training run" in text
    assert "cui_onto@K" in text


def test_one_run_alone_has_a_report_without_differences(runs, tmp_path):
    page = Page(write_report(runs[:1], tmp_path / "one" / "report.html").read_text(encoding="utf-8"))
    assert "less clip" not in "".join(page.text)


def test_the_figures_of_the_first_chart_are_said(runs, tmp_path):
    lines = []
    page = write_report(runs, tmp_path / "report.html", say=lines.append).read_text(encoding="utf-8")
    (line,) = lines
    assert line.startswith("image→image P@")
    for name, figure in re.findall(r"([^:,]+) (\.\d{3})", line):
        assert name.strip() in page
        assert figure in page
    assert {run.name for run in compare(runs).runs} <= {name.strip() for name in re.findall(r"[:,] ([^,]+) \.", line)}


def test_the_baseline_can_be_chosen(runs):
    assert compare(runs, baseline=runs[1]).baseline.name == "noise-twin"
    with pytest.raises(InvalidInput, match="the baseline is not among the runs"):
        compare(runs[:1], baseline=runs[1])


@pytest.fixture(scope="module")
def elsewhere(runs, metadata, tmp_path_factory):
    """Evaluations of both runs on a file with 24 images, other names of columns and other pictures, beside copies of the runs."""
    folder = tmp_path_factory.mktemp("elsewhere")
    frame = pl.read_csv(metadata, infer_schema=False)[60:84]
    for number in range(60, 84):
        Image.new("RGB", (30, 30), (number, 250, 5)).save(folder / f"{number}.png")
    frame.rename({"modality": "kind"}).with_columns(split=pl.lit("test")).write_csv(folder / "other.csv")
    protocol = ScoringProtocol(
        class_ks=(1, 5), cui_ks=(1, 5), minimum_class_size=4, resamples=200, class_split="test", cui_splits=("test",)
    )
    read = ["data.columns.modality=kind", "data.max_pixels=900"]
    for run in runs:
        copy = shutil.copytree(run, folder / run.name)
        out = folder / f"{run.name} on other"
        evaluate_run(copy, [folder / "other.csv"], protocol=protocol, overrides=read, out=out)
    return [folder / f"{run.name} on other" for run in runs]


def test_evaluations_beside_the_runs_own_are_reported_by_their_folder_with_their_own_figures_and_pictures(elsewhere, tmp_path):
    page = Page(write_report(elsewhere, tmp_path / "report.html").read_text(encoding="utf-8"))
    text = re.sub(r"\s+", " ", "".join(page.text))
    assert "Targets: random neighbours (noise-twin on other) against one-hot (clip on other)" in text
    assert "24 images of other.csv, split test" in text
    assert "clip on other evaluation of clip" in text
    assert (
        "noise-twin on other is an evaluation of noise-twin on other.csv, split test, read with data.columns.modality=kind"
        in text
    )
    assert "Training loss" in text
    seen = [base64.b64decode(each["src"].partition(",")[2]) for each in page.all("img")]
    assert seen
    assert all(Image.open(io.BytesIO(content)).getpixel((9, 9))[1] > 200 for content in seen)
    clip = compare(elsewhere).baseline
    assert clip.figures == {**by_key(read_scored(elsewhere[0]).evaluation.figures)}
    assert clip.scored.images.height == 24


def test_an_evaluation_moves_with_its_run_and_without_it_is_named(elsewhere, tmp_path):
    moved = [shutil.copytree(elsewhere[0].parent / name, tmp_path / "new" / name) for name in ("clip", "clip on other")]
    assert compare(moved[1:]).baseline.of_run == "clip"
    shutil.rmtree(moved[0])
    with pytest.raises(NotFound, match=r"clip on other: an evaluation of the run clip, which is not at .*new/clip"):
        compare(moved[1:])


def test_an_evaluation_and_a_run_on_other_data_are_not_compared(elsewhere, runs):
    with pytest.raises(
        InvalidInput, match=r"clip \(other.csv, split test\) and clip \(metadata.csv, split retrieval\) were eval"
    ):
        compare([runs[0], elsewhere[0]])


def test_a_runs_own_evaluation_by_its_folder_is_the_run(runs):
    comparison = compare([runs[0] / "evaluation", runs[1]])
    assert [(run.name, run.of_run) for run in comparison.runs] == [("clip", ""), ("noise-twin", "")]
    with pytest.raises(InvalidInput, match="a report needs runs, each once"):
        compare([runs[0], runs[0] / "evaluation"])


def test_a_run_that_was_not_evaluated_is_named(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "fresh", ignore=shutil.ignore_patterns("evaluation"))
    with pytest.raises(NotFound, match="fresh: not evaluated"):
        write_report([run], tmp_path / "report.html")


def test_no_run_at_all_and_a_run_twice_are_refused(runs, tmp_path):
    for folders in ([], [runs[0], runs[0]]):
        with pytest.raises(InvalidInput, match="a report needs runs, each once"):
            write_report(folders, tmp_path / "report.html")


def test_a_picture_that_is_gone_is_named(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "clip")
    scored = read_scored(run)
    gone = scored.images.with_columns(pl.lit(str(tmp_path / "gone.png")).alias("file"))
    write_scored(own_evaluation(run), dataclasses.replace(scored, images=gone))
    with pytest.raises(BadImage, match=r"gone\.png"):
        write_report([run], tmp_path / "report.html")


def test_what_was_left_out_and_which_leaks_were_allowed_is_said(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "clip")
    bad = Quarantined(image_id="picture-7", split="train", step=3, place="m.csv:9", reason="/data/7.png: image file is truncated")
    facts = json.loads((run / "run.json").read_text())
    assert "left out" not in model_card(run, read_config(run))
    more = {"leaks": ["values of group in two splits: 2, p1 (train, valid)"], "bad_rows": {"count": 4, "first": ["m.csv:3: x"]}}
    (run / "run.json").write_text(json.dumps({**facts, **more}))
    write_quarantine(run, [bad])
    said = write_report([run], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "clip left out 4 rows of its files that can&#39;t be used" in said
    assert "clip left out 1 images that can&#39;t be decoded: picture-7 (7.png: image file is truncated)." in said
    assert "clip was trained with a leak, allowed by data.allow_leaks: values of group in two splits: 2, p1" in said
    card = model_card(run, read_config(run))
    assert "left out, since their images can't be decoded: 1" in card
    assert "left out, since their rows can't be used: 4" in card
    assert "m.csv:3" not in card
    assert "allowed by `data.allow_leaks`**: values of group in two splits. Figures" in card
    assert "p1" not in card


def test_a_run_that_ended_early_and_checkpoints_of_different_rules_are_told_of(runs, tmp_path):
    clip, twin = (shutil.copytree(run, tmp_path / run.name) for run in runs)
    assert "chosen by different rules" not in write_report([clip, twin], tmp_path / "before.html").read_text()
    facts = json.loads((clip / "run.json").read_text())
    (clip / "run.json").write_text(json.dumps({**facts, "steps": 12}))
    config = (clip / "config.yaml").read_text()
    (clip / "config.yaml").write_text(config.replace("epochs: 2", "epochs: 4").replace("patience: null", "patience: 1"))
    lines = [json.loads(line) for line in (clip / "metrics.jsonl").read_text().splitlines()]
    worse = [{**line, "loss": float(line["step"])} if line["kind"] == "valid" else line for line in lines]
    (clip / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in worse))
    metrics = twin / "evaluation" / "metrics.json"
    metrics.write_text(json.dumps({**json.loads(metrics.read_text()), "checkpoint": "best", "best_by": "recall", "step": 3}))
    html = write_report([clip, twin], tmp_path / "report.html").read_text()
    assert "clip ended early, after step 6 of 12: no better loss than 3.0000 at step 3, with a patience of 1 epochs" in html
    assert "chosen by different rules" in html
    assert "clip last, step 6, noise-twin best by recall, step 3" in html
    assert "checkpoint best by recall, step 3;" in model_card(twin, read_config(twin))
