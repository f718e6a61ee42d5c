import pytest
import yaml
from nbclip.errors import Conflict, InvalidInput
from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.layout import Layout, Run, as_override, keep_grid
from nbclip_trainer.experiments.reading import grid_names, read_grid

IDS = {"plain": "a" * 64, "moved kg_seed=1": "b" * 64, "moved kg_seed=2": "0" * 64}
TREE = {
    "preset": "nbclip-tiny",
    "set": ["epochs=3"],
    "seeds": [1, 2],
    "kg_seeds": [1, 2],
    "choose": {
        "seeds": [101, 102, 103],
        "kg_seeds": [8, 9],
        "settings": {"optim.lr": [0.001, 0.0001], "model": [{"logit_scale": 5}]},
    },
    "snapshots": {"plain": {}, "moved": {"is_a": {"shuffled": "kg_seed"}}},
    "arms": {
        "clip": {"title": "CLIP"},
        "dk": {"title": "DK", "snapshot": "plain", "set": ["targets.knowledge=dk", "loss.name=sm"]},
        "moved": {"title": "moved", "snapshot": "moved", "set": ["targets.knowledge=dk_ek", "loss.name=sm"]},
        "pixels": {"title": "pixels", "ranker": "raw pixels", "reads": "clip"},
    },
}


def layout(folder, overrides=(), **changes):
    return Layout(Grid.model_validate({**TREE, **changes}), folder, tuple(overrides))


def test_every_trained_arm_is_run_with_every_seed_and_kg_seed_whole_seeds_first(tmp_path):
    runs = layout(tmp_path).reported()
    assert len(runs) == len(set(runs)) == 2 + 2 + 4
    assert {(run.arm, run.seed) for run in runs[:6]} == {(arm, seed) for arm in ("clip", "dk", "moved") for seed in (1, 2)}
    assert {(run.seed, run.kg_seed) for run in runs if run.arm == "moved"} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert {run.kg_seed for run in runs if run.arm != "moved"} == {None}


def test_the_choice_has_every_candidate_with_seeds_and_kg_seeds_of_its_own(tmp_path):
    tried = layout(tmp_path).tried()
    assert len(tried) == 3 * 2 * 3
    moved = [(run.candidate, run.seed, run.kg_seed) for run in tried if run.arm == "moved"]
    assert moved == [(number, seed, kg) for number in (0, 1) for seed, kg in ((101, 8), (102, 9), (103, 8))]
    assert layout(tmp_path, choose=None).tried() == []


def test_no_two_runs_share_a_folder(tmp_path):
    here = layout(tmp_path)
    runs = [*here.reported(), *here.tried()]
    assert len({here.run_dir(run) for run in runs}) == len(runs)
    assert here.run_dir(Run("moved", 2, 1)) == tmp_path / "runs/moved-kg1-seed2"
    assert here.evaluation_dir(Run("clip", 2), "retrieval") == tmp_path / "runs/clip-seed2/sets/retrieval"


def test_an_arm_stays_itself_whatever_all_arms_are_given(tmp_path):
    here = layout(tmp_path, ["targets.knowledge=dk_ek", "epochs=7", "seed=4", "loss.name=sm", "model.logit_scale=20"])
    config = here.config(Run("dk", 2), {"dk": {"optim.lr": 0.5, "model": {"logit_scale": 9}}}, IDS)
    assert (config.targets.knowledge, config.epochs, config.seed, config.optim.lr) == ("dk", 7, 2, 0.5)
    assert (config.model.logit_scale, config.model.name) == (9, "nbclip-tiny"), "a mapping lies over what is there"
    assert config.targets.snapshot == "a" * 64


def test_a_run_is_pinned_to_the_snapshot_of_its_kg_seed_even_if_its_id_looks_like_a_number(tmp_path):
    here = layout(tmp_path)
    assert here.config(Run("moved", 1, 1), {}, IDS).targets.snapshot == "b" * 64
    assert here.config(Run("moved", 1, 2), {}, IDS).targets.snapshot == "0" * 64
    assert here.config(Run("clip", 1), {}, IDS).targets.snapshot is None


def test_candidates_are_what_the_choice_tries(tmp_path):
    here = layout(tmp_path)
    assert [here.config(Run("clip", 101, None, number), {}, {}).optim.lr for number in (0, 1)] == [0.001, 0.0001]


def test_features_are_kept_for_locked_towers_alone(tmp_path):
    locked = ["model.image.unlocked=0", "model.text.unlocked=0", "augmentation.kind=none"]
    assert layout(tmp_path, locked).config(Run("clip", 1), {}, {}).data.features == tmp_path / "features"
    assert layout(tmp_path).config(Run("clip", 1), {}, {}).data.features is None
    own = layout(tmp_path, [*locked, "data.features=/elsewhere"]).config(Run("clip", 1), {}, {})
    assert str(own.data.features) == "/elsewhere"


def test_a_wrong_setting_is_told_with_its_arm(tmp_path):
    arms = {**TREE["arms"], "dk": {**TREE["arms"]["dk"], "set": ["targets.knwoledge=dk"]}}
    with pytest.raises(InvalidInput, match=r"arms.dk: unknown key 'targets.knwoledge'"):
        layout(tmp_path, arms=arms).config(Run("dk", 1), {}, {})


@pytest.mark.parametrize("value", [1, 1e-8, "a", "null", "1", None, [1, "b"], {"a": {"b": True}}, "x: y", "ü " * 60])
def test_an_override_says_its_value_in_one_line(value):
    key, _, text = as_override("a.b", value).partition("=")
    assert (key, yaml.safe_load(text)) == ("a.b", value)
    assert "\n" not in text


def test_a_folder_belongs_to_one_experiment_to_which_may_be_added(tmp_path):
    keep_grid(layout(tmp_path))
    arms = TREE["arms"]
    titled = {**arms, "dk": {**arms["dk"], "title": "DK (SM)"}, "more": {"title": "more"}}
    keep_grid(layout(tmp_path, seeds=[1, 2, 3], arms=titled))
    assert "more" in yaml.safe_load((tmp_path / "grid.yaml").read_text())["arms"]
    for changes, named in (
        ({"set": ["epochs=4"]}, "set"),
        ({"arms": {**arms, "dk": {**arms["dk"], "set": ["targets.knowledge=dk_ek"]}}}, "arms.dk"),
        ({"snapshots": {**TREE["snapshots"], "plain": {"split": None}}}, "arms.dk"),
        ({"endpoint": {"smallest_effect": 2}}, "endpoint"),
        ({"linked_cuis": True}, "linked_cuis"),
    ):
        with pytest.raises(Conflict, match=f"another experiment lies there, changed: {named}"):
            keep_grid(layout(tmp_path, **changes))


def test_a_run_that_goes_on_has_the_weights_and_the_choice_of_the_run_of_its_seed(tmp_path):
    on = {"title": "on", "starts_from": "clip", "set": ["epochs=1", "optim.schedule=constant"]}
    here = layout(tmp_path, arms={**TREE["arms"], "on": on})
    assert {run.arm for run in here.tried()} == {"clip", "dk", "moved"}
    run = Run("on", 2)
    assert here.start_of(run) == Run("clip", 2)
    assert here.start_of(Run("clip", 2)) is None
    config = here.config(run, {"clip": {"optim.lr": 0.5, "model": {"logit_scale": 9}}}, {})
    assert (config.optim.lr, config.optim.schedule, config.epochs, config.seed) == (0.5, "constant", 1, 2)
    assert config.model.pretrained == str(tmp_path / "runs/clip-seed2")
    assert config.model.logit_scale is None, "it is one of the weights"


def test_nothing_takes_the_place_of_the_weights_that_a_run_goes_on_from(tmp_path):
    on = {"title": "on", "starts_from": "clip"}
    here = layout(tmp_path, preset="small", set=[], choose=None, arms={"clip": {"title": "CLIP"}, "on": on})
    start, config = (here.config(Run(arm, 1), {}, {}) for arm in ("clip", "on"))
    assert (start.model.image.start, config.model.image.start) == ("pca", "weights")
    assert (start.model.image_weights is None, config.model.image_weights) == (False, None)


@pytest.mark.parametrize("name", grid_names())
def test_every_arm_of_the_shipped_grids_can_be_trained(name, tmp_path):
    here = Layout(read_grid(name), tmp_path)
    for run in (*here.reported(), *here.tried()):
        config = here.config(run, {}, {})
        assert config.targets.duplicates == "positive", "equal captions are treated alike"
    for goes_on in (False, True):
        runs = [run for run in here.reported() if (here.start_of(run) is not None) == goes_on]
        alike = {(config.epochs, config.optim.lr) for config in (here.config(run, {}, {}) for run in runs)}
        assert len(alike) == (1 if runs else 0), "arms that are compared train as long"
