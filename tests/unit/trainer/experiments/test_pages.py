"""From made-up runs with planted effects to verdicts and pages."""

import datetime
import re

import numpy as np
import polars as pl
import pytest
from nbclip.errors import InvalidInput
from nbclip_trainer.evaluation.cui import ConceptSets, cui_figures
from nbclip_trainer.experiments.account import Account, Tried
from nbclip_trainer.experiments.document import html, markdown
from nbclip_trainer.experiments.grid import Grid, PictureSet
from nbclip_trainer.experiments.judgement import judge
from nbclip_trainer.experiments.observations import CLASS_TASKS, MEAN, Evidence
from nbclip_trainer.experiments.pages import headline_columns, page_of
from nbclip_trainer.experiments.plot import claims_svg, save_claims
from nbclip_trainer.experiments.reading import read_grid
from nbclip_trainer.experiments.verdicts import Verdict

EFFECTS = {
    "clip": 0, "noise": -1.5, "dk": 2.0, "dk_ek": 2.1, "mse": 0.2, "sigmoid": -1.0, "frozen": -6, "shuffled": 2.0,
    "labelled": 4.0, "labels": 7.0, "dk_ek_loud": 2.0, "dk_ek_rare": 2.0, "dk_transe": 3.0, "dk_ek_transe": 3.0,
}  # fmt: skip


def grid(**changes) -> Grid:
    shipped = read_grid("tables")
    return shipped.model_copy(update={"seeds": (1, 2, 3), **changes})


@pytest.fixture(scope="module")
def judgement(planted):
    two = grid(sets={"retrieval": PictureSet(), "unseen": PictureSet(split="unseen")})
    return judge(two, Evidence(planted(two, EFFECTS), resamples=400))


def claim(judgement, first, second):
    return next(
        one
        for table in judgement.tables
        for one in table.claims
        if (one.comparison.first, one.comparison.second) == (first, second)
    )


def account(judgement):
    grid = judgement.grid
    tried = tuple(
        Tried(arm, settings, (0.5, 0.52), number == 0)
        for arm in grid.trained
        for number, settings in enumerate(grid.candidates(arm))
    )
    mean = {"value": 0.7, "low": 0.68, "high": 0.72, "rows": 9}
    source = {"purity": [{"column": "organ", "purity": mean}], "neighbour_mass": 0.5, "effective_neighbours": None}
    return Account(
        command="nbclip experiment tables --data metadata.csv",
        run_on=datetime.date(2026, 11, 30),
        machine="2 cores of a machine",
        facts={"git": "abc123", "data": {"train": {"pairs": 4958}, "valid": None}, "versions": {"torch": "2.15"}},
        snapshots={"dk": ("f" * 64,)},
        scales={"clip": 16.2, "dk": 12.6},
        seconds=1800,
        runs=(30, 20),
        tried=tried,
        chosen_by=("precision_at_10", (101, 102)),
        inspection={"sources": [{"name": "dk", **source}], "changes": [{"first": "dk", "second": "dk", "change": mean}]},
    )


def section_of(page, title):
    return page.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_page_says_what_was_chosen_at_the_end_of_its_range(judgement):
    grid = judgement.grid
    chosen = {"clip": 8, "dk": 4}
    tried = tuple(
        Tried(arm, settings, (0.5,), number == place)
        for arm, place in chosen.items()
        for number, settings in enumerate(grid.candidates(arm))
    )
    assert Account(tried=tried).ends() == {"model.logit_scale=2.5, the lowest": ["clip"], "optim.lr=0.016, the highest": ["clip"]}
    page = section_of(markdown(page_of(judgement, Account(tried=tried))), "What was tried for each arm")
    assert "- `optim.lr=0.016, the highest`: CLIP (InfoNCE)\n" in page
    assert "scale_trains=False, the" not in page, "a truth value and a single candidate have no ends"
    middle = tuple(one for one in tried if one.arm == "dk")
    assert "end of what was tried" not in markdown(page_of(judgement, Account(tried=middle)))


def test_the_page_says_which_arms_were_chosen_jointly_and_what_each_would_have_taken_alone(judgement):
    grid = judgement.grid
    assert grid.choose.group_of("dk_ek")[:2] == ("dk", "dk_ek")
    tried = tuple(
        Tried(arm, settings, (0.5 + 0.01 * (number == best),), number == 0)
        for arm, best in (("dk", 0), ("dk_ek", 3))
        for number, settings in enumerate(grid.candidates(arm))
    )
    page = section_of(markdown(page_of(judgement, Account(tried=tried))), "What was tried for each arm")
    marks = [line.split("|")[3].strip() for line in page.splitlines() if line.startswith("| DK")]
    assert [(number, mark) for number, mark in enumerate(marks) if mark] == [
        (0, "**chosen**"), (9, "**chosen**"), (12, "best alone"),
    ]  # fmt: skip
    assert ", ".join(grid.arms[arm].title for arm in grid.choose.jointly[0]) in page
    alone = grid.model_copy(update={"choose": grid.choose.model_copy(update={"jointly": ()})})
    apart = type(judgement)(alone, judgement.tables, judgement.columns, judgement.cases)
    assert "jointly" not in markdown(page_of(apart, Account(tried=tried)))


def test_a_planted_effect_is_found_with_its_size(judgement):
    found = claim(judgement, "dk_ek", "clip")
    assert found.verdict_on(found.endpoint) is Verdict.REPRODUCES
    for judged in found.endpoint.values():
        low, high = judged.estimate.interval()
        assert low <= 2.1 <= high
        assert judged.paper == pytest.approx((3.4 + 6.04 + 4.77) / 3)
        assert not judged.adjusted, "the primary claim stands alone"


def test_no_effect_is_refuted_where_the_paper_has_a_large_one(judgement):
    found = claim(judgement, "dk_ek", "dk")
    assert found.verdict_on(found.endpoint) is Verdict.REFUTES
    assert all(judged.adjusted for judged in found.endpoint.values())


def test_no_effect_with_large_noise_is_underpowered(planted):
    one = grid()
    judged = claim(judge(one, Evidence(planted(one, EFFECTS, of_seed=4.0), resamples=200)), "dk_ek", "dk").endpoint["retrieval"]
    assert judged.verdict is Verdict.UNDERPOWERED
    assert judged.estimate.half_width() > 4


def test_an_effect_where_the_paper_has_none_refutes_it(judgement):
    assert claim(judgement, "dk", "clip").verdict_on(judgement.grid.sets) is Verdict.REFUTES


def test_all_controls_as_they_must_be_make_a_table_that_counts(judgement):
    assert not any(table.is_void_on(pictures) for table in judgement.tables for pictures in judgement.grid.sets)
    assert {one.arm for one in judgement.tables[0].controls} == {"shuffled", "labelled", "labels"}
    page = markdown(page_of(judgement, account(judgement)))
    assert "void**" not in page.partition("## Answers")[0]


def test_changes_of_targets_are_shown_for_what_is_compared(judgement):
    of = account(judgement)
    dk, dk_ek, noise, shuffled = (judgement.grid.arms[name].title for name in ("dk", "dk_ek", "noise", "shuffled"))
    pairs = [(dk, dk), (dk, dk_ek), (dk, noise), (dk, shuffled), (noise, shuffled)]
    change = of.inspection["changes"][0]["change"]
    of.inspection["changes"] = [{"first": first, "second": second, "change": change} for first, second in pairs]
    page = markdown(page_of(judgement, of))
    shown = [line.split("|")[1].strip() for line in page.splitlines() if "→" in line and line.startswith("|")]
    assert shown[1:] == [f"{dk} → {dk_ek}", f"{dk} → {shuffled}"]
    assert f"| seeds of {dk} |" in page


@pytest.mark.parametrize(
    ("arm", "effect", "said"),
    [
        ("shuffled", 5.0, "must be equal to DK (SM)"),
        ("labelled", 2.0, "must be above DK (SM)"),
        ("labels", 2.0, "must be above"),
    ],
)
def test_a_failed_control_voids_its_tables_and_the_page_begins_with_it(planted, arm, effect, said):
    one = grid()
    found = judge(one, Evidence(planted(one, {**EFFECTS, arm: effect}), resamples=200))
    assert all(table.is_void_on("retrieval") for table in found.tables)
    page = markdown(page_of(found, Account()))
    lead, _, rest = page.partition("## Answers")
    assert "is void" in lead
    assert said in lead
    assert "**reproduces**" not in page
    assert "**refuted**" not in page
    assert "| reproduces |" not in rest


def test_a_control_that_fails_on_some_pictures_voids_what_is_said_of_them(planted):
    two = grid(sets={"retrieval": PictureSet(), "unseen": PictureSet(split="unseen")})
    lowered = (pl.col("set") == "unseen") & (pl.col("arm") == "labels")
    frame = planted(two, EFFECTS).with_columns(
        pl.when(lowered).then(pl.col("value") - 7.0).otherwise(pl.col("value")).alias("value")
    )
    found = judge(two, Evidence(frame, resamples=200))
    assert [found.tables[0].is_void_on(pictures) for pictures in ("retrieval", "unseen")] == [False, True]
    page = markdown(page_of(found, Account()))
    assert "**Table “which knowledge makes the targets” is void on unseen.**" in page
    assert "**Soft targets from knowledge help** (primary): **reproduces** on retrieval, void on unseen." in page
    rows = [line for line in page.splitlines() if line.startswith("| soft targets from knowledge help")]
    assert [row.split("|")[3].strip() for row in rows] == ["retrieval", "unseen"]
    assert [row.split("|")[-2].strip() for row in rows] == ["reproduces, smaller", "void"]


def test_equality_is_not_had_by_too_few_data(planted):
    one = grid()
    found = judge(one, Evidence(planted(one, EFFECTS, of_seed=3.0), resamples=200))
    shuffled = next(result for result in found.tables[0].controls if result.arm == "shuffled")
    assert shuffled.judged.verdict is Verdict.UNDERPOWERED
    assert found.tables[0].is_void_on("retrieval")


def test_a_table_without_controls_is_void(planted):
    shipped = grid()
    arms = {name: arm.model_copy(update={"control": None}) for name, arm in shipped.arms.items()}
    found = judge(shipped.model_copy(update={"arms": arms}), Evidence(planted(shipped, EFFECTS), resamples=200))
    assert all(table.is_void_on("retrieval") for table in found.tables)
    assert "It has no controls." in markdown(page_of(found, Account()))


def test_sets_of_pictures_that_differ_decide_nothing(planted):
    two = grid(sets={"retrieval": PictureSet(), "unseen": PictureSet(split="unseen")})
    frame = planted(two, EFFECTS)
    lifted = (pl.col("set") == "unseen") & (pl.col("arm") == "clip")
    frame = frame.with_columns(pl.when(lifted).then(pl.col("value") + 2.0).otherwise(pl.col("value")).alias("value"))
    found = claim(judge(two, Evidence(frame, resamples=200)), "dk_ek", "clip")
    assert {name: judged.verdict for name, judged in found.endpoint.items()} == {
        "retrieval": Verdict.REPRODUCES,
        "unseen": Verdict.REFUTES,
    }
    assert found.verdict_on({"retrieval", "unseen"}) is Verdict.UNDERPOWERED
    assert found.verdict_on({"unseen"}) is Verdict.REFUTES


def test_the_page_has_all_a_reviewer_asks_for_in_order(judgement):
    document = page_of(judgement, account(judgement))
    page, web = markdown(document), html(document)
    assert [section.title for section in document.sections] == [
        "Answers", "Figures", "Differences", "Controls", "Mechanism: what the targets are like", "What was tried for each arm",
        "Parts of the pictures", "Every column", "Limits", "How it was run",
    ]  # fmt: skip
    for text in (
        "16.2",
        "model.logit_scale=5",
        "caption source radiologist",
        "0.700 [0.680, 0.720]",
        "abc123",
        "f" * 64,
        "101, 102",
    ):
        assert text in page, text
        assert text in web, text
    assert "Linked CUI overlap@10" in page
    assert "**Linked CUIs are not gold**" in section_of(page, "Figures")
    assert "<svg" in web
    assert "**" not in web.partition("<body>")[2]


def test_the_headline_has_concepts_by_the_names_that_the_scorer_gives_them(planted):
    member = np.eye(3, dtype=np.float32)
    gallery = ConceptSets(["C0000001", "C0000002", "C0000003"], member, None)
    scored = cui_figures(member, gallery, np.array([[1, 2], [0, 2], [0, 1]]), ~np.eye(3, dtype=bool), [10])
    rows = planted(grid(), EFFECTS).filter(pl.col("task").is_in(CLASS_TASKS))
    part = rows.filter((pl.col("task") == "organ") & (pl.col("metric") == "P@10"))
    frames = [part.with_columns(task=pl.lit("cui", pl.Categorical), metric=pl.lit(name, pl.Categorical)) for name in scored]
    found = headline_columns(judge(grid(), Evidence(pl.concat([rows, *frames]))))
    assert [metric for task, metric in found if task == "cui"] == ["cui_coverage@10", "cui_overlap@10", "cui_overlap_rare@10"]


def test_figures_that_a_set_of_pictures_has_of_no_arm_are_left_out(planted):
    two = grid(sets={"retrieval": PictureSet(), "unseen": PictureSet(split="unseen")})
    frame = planted(two, EFFECTS).filter(~((pl.col("set") == "retrieval") & (pl.col("task") == "cui")))
    page = section_of(markdown(page_of(judge(two, Evidence(frame, resamples=100)), Account())), "Figures")
    header = next(line for line in page.splitlines() if line.startswith("| per cent"))
    assert "CUI coverage@10, unseen" in header
    assert "| CUI coverage@10, retrieval" not in header
    assert "Linked CUI coverage@10, retrieval" in header
    gold = frame.filter(pl.col("task") != "cui_linked")
    assert "not gold" not in section_of(markdown(page_of(judge(two, Evidence(gold, resamples=100)), Account())), "Figures")


def test_the_mean_over_tasks_is_of_all_three(judgement, planted):
    evidence = Evidence(planted(judgement.grid, EFFECTS), resamples=100)
    parts = [evidence.draws("dk", "retrieval", (task, "P@10")).value for task in ("modality", "organ", "modality_organ")]
    assert evidence.draws("dk", "retrieval", (MEAN, "P@10")).value == pytest.approx(sum(parts) / 3)
    assert evidence.draws("dk", "retrieval", ("organ", "P@99")) is None


def test_a_missing_run_is_named(planted):
    one = grid()
    frame = planted(one, EFFECTS).filter(~((pl.col("arm") == "shuffled") & (pl.col("seed") == 2) & (pl.col("kg_seed") == 3)))
    with pytest.raises(
        InvalidInput, match="arm 'shuffled', set 'retrieval': 1920 values are not 3 seeds × 3 KG seeds × 240 queries"
    ):
        judge(one, Evidence(frame, resamples=100))


def test_one_seed_gives_figures_without_intervals(planted):
    one = grid(seeds=(1,))
    page = markdown(page_of(judge(one, Evidence(planted(one, EFFECTS), resamples=100)), Account()))
    assert "nan" not in page
    assert "with one there are no intervals" in page


def test_the_plot_is_a_file_or_an_svg(judgement, tmp_path):
    assert claims_svg(judgement).startswith("<svg")
    save_claims(judgement, tmp_path / "claims.png")
    assert (tmp_path / "claims.png").read_bytes().startswith(b"\x89PNG")


def test_the_plot_has_no_colour_but_the_pages_which_are_light_or_dark(judgement):
    svg = claims_svg(judgement)
    assert re.findall(r"#[0-9a-f]{6}\b|#fff\b", svg) == []
    assert {"var(--hit)", "var(--ink-soft)", "var(--panel)"} <= set(re.findall(r"var\(--[a-z0-9-]+\)", svg))
    assert svg in html(page_of(judgement, Account()))


def test_a_text_of_the_grid_is_no_html(judgement):
    evil = judgement.grid.model_copy(update={"description": "<script>alert(1)</script>"})
    judged = type(judgement)(evil, judgement.tables, judgement.columns, judgement.cases)
    assert "<script>" not in html(page_of(judged, Account()))
