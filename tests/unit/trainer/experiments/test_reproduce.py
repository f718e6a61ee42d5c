"""Table 1 with a tiny model, two seeds and a service over real HTTP, from training to the pages."""

import threading

import pytest
from nbclip.errors import Conflict, InvalidInput
from nbclip_trainer.experiments.arms import CLIP, DK_EK, TABLES
from nbclip_trainer.experiments.judgement import COLUMNS, Verdict, judge, read_table
from nbclip_trainer.experiments.pages import write_table
from nbclip_trainer.experiments.plan import Plan, run_all
from nbclip_trainer.runs.results import Figure, ScoringProtocol, read_scored
from rich.console import Console

PROTOCOL = ScoringProtocol(minimum_class_size=4, resamples=200)


@pytest.fixture
def plan(service, small, metadata, tmp_path):
    overrides = [*small(f"service.url={service.url}", "epochs=1", data=metadata)]
    return Plan("mini", TABLES["table1"], (1, 2), tuple(overrides), tmp_path / "tables")


def run(plan, stop=None):
    return run_all(
        plan, protocol=PROTOCOL, ontology=None, device="cpu", stop=stop or threading.Event(), console=Console(quiet=True)
    )


def test_all_arms_and_seeds_are_trained_scored_and_set_beside_the_paper(plan, service):
    assert run(plan)
    assert sorted(path.name for path in plan.folder.iterdir()) == [
        f"{arm}-seed{seed}" for arm in ("clip", "dk", "dk_ek", "noise") for seed in (1, 2)
    ]
    assert {body["knowledge"] for body in service.asked} == {"noise", "dk", "dk_ek"}

    asked = len(service.asked)
    assert run(plan)
    assert len(service.asked) == asked, "what is scored is not trained again"

    table = read_table("table1", plan)
    check_means(plan, table)
    page = write_table("table1", plan)
    text = (plan.folder / "table1.md").read_text()
    assert "| DK + EK (SM), paper | 41.8 | 43.2 | 48.6 |" in text
    assert "| chance | 4.2 | 19.9 |" in text, "Recall@1 and 5 of 24 captions that two images have each"
    assert text.count("**") == 2 * len(TABLES["table1"])
    assert "92.8" in page.read_text()
    assert "<svg" in page.read_text()
    assert (plan.folder / "table1.png").stat().st_size > 10_000

    with pytest.raises(Conflict, match="epochs: 1 -> 2"):
        run(Plan(plan.preset, plan.arms, plan.seeds, (*plan.overrides, "epochs=2"), plan.folder))

    facts = plan.run_dir(DK_EK, 2) / "run.json"
    facts.write_text(facts.read_text().replace("f" * 64, "e" * 64))
    with pytest.raises(InvalidInput, match="targets of 2 snapshots"):
        read_table("table1", plan)


def check_means(plan, table):
    """Figures are those of the mean over seeds of each query; differences of the pairs of such means."""
    rows = {row.arm: row for row in table.rows}
    scored = [read_scored(plan.run_dir(DK_EK, seed)) for seed in plan.seeds]
    place = COLUMNS.index(("organ", "P@5"))
    by_seed = [value_of(one.evaluation.figures, "organ", "P@5") for one in scored]
    assert rows[DK_EK].entries[place].seeds == pytest.approx(by_seed)
    assert rows[DK_EK].entries[place].figure.value == pytest.approx(sum(by_seed) / 2)
    order = table.pairs[0].orders[place]
    assert (table.pairs[0].first, table.pairs[0].second) == (DK_EK, CLIP)
    assert order.paper == pytest.approx(76.67 - 67.92)
    expected = rows[DK_EK].entries[place].figure.value - rows[CLIP].entries[place].figure.value
    assert order.difference.value == pytest.approx(expected)


def value_of(figures, task, metric):
    wanted = ("model", "image→image", task, "all", metric)
    (value,) = [one.value for one in figures if (one.ranker, one.direction, one.task, one.subset, one.metric) == wanted]
    return value


def test_a_stop_ends_it_and_the_same_call_goes_on(plan):
    stop = threading.Event()
    stop.set()
    assert not run(plan, stop)
    assert len(list(plan.folder.iterdir())) == 1


def figure(low, high):
    return Figure(
        ranker="model", direction="image→image", task="organ", subset="all", metric="P@5", value=(low + high) / 2, low=low,
        high=high, queries=9, unanswered=0, classes=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("paper", "low", "high", "seeds", "verdict"),
    [
        (1.0, 0.01, 0.03, (0.01, 0.02), Verdict.HOLDS),
        (-1.0, -0.03, -0.01, (-0.01, -0.02), Verdict.HOLDS),
        (1.0, -0.03, -0.01, (-0.01, -0.02), Verdict.OPPOSITE),
        (1.0, -0.01, 0.03, (0.01, 0.02), Verdict.OPEN),
        (1.0, 0.01, 0.03, (-0.01, 0.05), Verdict.OPEN),
        (0.4, 0.01, 0.03, (0.01, 0.02), Verdict.OPEN),
        (-0.4, 0.01, 0.03, (0.01, 0.02), Verdict.OPEN),
    ],
)
def test_an_order_is_judged_by_interval_and_seeds(paper, low, high, seeds, verdict):
    assert judge(paper, figure(low, high), seeds) is verdict
    assert judge(paper, None, seeds) is Verdict.OPEN
