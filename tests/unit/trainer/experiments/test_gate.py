"""What the arms' targets are like, asked before any training."""

import json

import pytest
from nbclip_trainer.experiments.account import INSPECTION
from nbclip_trainer.experiments.gate import inspect_arms, same_targets
from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.layout import Layout
from nbclip_trainer.training.inspected import Change, Inspection, Mean
from support.knowledge_service import NEW, OLD

DK_EK = ["targets.knowledge=dk_ek", "loss.name=sm"]
IDS = {"moved kg_seed=1": OLD, "moved kg_seed=2": NEW, "still": OLD}
ARMS = {
    "clip": {"title": "CLIP"},
    "moved": {"title": "moved", "snapshot": "moved", "set": DK_EK},
    "still": {"title": "still", "snapshot": "still", "set": DK_EK},
    "mse": {"title": "still by MSE", "snapshot": "still", "set": ["targets.knowledge=dk_ek", "loss.name=mse"]},
    "given": {"title": "given", "set": [*DK_EK, f"targets.snapshot='{NEW}'"]},
    "labels": {"title": "labels", "set": ["targets.knowledge=labels", "loss.name=sm"]},
}
TREE = {
    "preset": "nbclip-tiny",
    "seeds": [1, 2],
    "kg_seeds": [1, 2],
    "snapshots": {"moved": {"is_a": {"shuffled": "kg_seed"}}, "still": {}},
    "arms": ARMS,
    "comparisons": [{"first": "moved", "second": "still", "claim": "moving helps", "primary": True}],
}


@pytest.fixture
def layout(service, small, metadata, tmp_path):
    def made(*more, data=metadata, **changes):
        overrides = small(f"service.url={service.url}", "epochs=1", *more, data=data)
        return Layout(Grid.model_validate({**TREE, **changes}), tmp_path, tuple(overrides))

    return made


def sources(folder):
    return {one["name"]: one["snapshots"] for one in json.loads((folder / INSPECTION).read_text())["sources"]}


def test_arms_of_equal_targets_are_one_source_and_kg_seeds_its_seeds(layout, tmp_path):
    inspect_arms(layout(), IDS, lambda line: None)
    assert sources(tmp_path) == {"moved": [OLD, NEW], "still": [OLD], "given": [NEW], "labels": [None]}
    labels = json.loads((tmp_path / INSPECTION).read_text())["sources"][-1]
    assert all(part["purity"]["value"] > part["chance"] for part in labels["purity"])


def test_nothing_is_asked_again_until_the_targets_change(layout, tmp_path, service):
    said: list[str] = []
    inspect_arms(layout(), IDS, said.append)
    asked = len(service.asked)
    inspect_arms(layout(), IDS, said.append)
    assert len(service.asked) == asked
    inspect_arms(layout(), {**IDS, "still": NEW}, said.append)
    assert sources(tmp_path)["still"] == [NEW]
    assert len(service.asked) > asked


def moves(first, second, value):
    return Change(first=first, second=second, change=Mean(value=value, low=None, high=None, rows=9), pairs=1)


@pytest.mark.parametrize(
    ("between", "of_seeds", "named"),
    [
        (0.02, (0.1, 0.3), True),
        (0.1, (0.1, 0.3), True),
        (0.2, (0.1, 0.3), False),
        (0.2, (0.9,), False),
        (0.2, (), False),
        (0.0, (), True),
    ],
)
def test_a_claim_on_targets_that_differ_no_more_than_kg_seeds_is_named(between, of_seeds, named):
    seeds = [moves(title, title, value) for title, value in zip(("moved", "still"), of_seeds, strict=False)]
    changes = [moves("moved", "still", between), *seeds]
    found = Inspection(split=None, seed=1, batch_size=8, batches=1, rows=9, sources=(), changes=tuple(changes))
    lines = list(same_targets(Grid.model_validate(TREE), found))
    assert ["moving helps" in line and f"{between:.2f}" in line for line in lines] == [True] * named


@pytest.mark.parametrize("arms", [{"clip": {"title": "CLIP"}}])
def test_without_soft_targets_there_is_nothing_to_inspect(layout, tmp_path, arms):
    inspect_arms(layout(arms=arms, snapshots={}, comparisons=[]), {}, pytest.fail)
    assert not (tmp_path / INSPECTION).exists()


def test_without_labels_there_is_nothing_to_inspect(layout, write_pairs, tmp_path):
    without = {name: ARMS[name] for name in ("clip", "still")}
    here = layout(data=write_pairs(), arms=without, comparisons=[])
    inspect_arms(here, IDS, pytest.fail)
    assert not (tmp_path / INSPECTION).exists()
