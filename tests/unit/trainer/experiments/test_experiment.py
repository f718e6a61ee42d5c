"""A grid of tiny models in processes of their own, from the choice to the scored runs."""

import dataclasses
import fcntl
import json
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput, NotFound
from nbclip_trainer.config.saved import read_config
from nbclip_trainer.evaluation.linking import LinkedCuis
from nbclip_trainer.experiments import choosing, running
from nbclip_trainer.experiments.choosing import read_choice
from nbclip_trainer.experiments.experiment import Means, check, edges_of_labels, run_experiment
from nbclip_trainer.experiments.gathering import write_page, write_report
from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.job import do
from nbclip_trainer.experiments.layout import Layout, Run, keep_grid
from nbclip_trainer.experiments.linked import link_pictures
from nbclip_trainer.experiments.reading import read_grid
from nbclip_trainer.experiments.running import Progress, failed
from nbclip_trainer.runs.checkpoint import load_checkpoint, part
from nbclip_trainer.runs.results import read_scored, write_scored
from nbclip_trainer.runs.tracking import read_metrics
from support.knowledge_service import NEW, OLD
from support.waiting import eventually

IDS = {"moved kg_seed=1": OLD, "moved kg_seed=2": NEW, "moved kg_seed=9": OLD}
TREE = {
    "preset": "nbclip-tiny",
    "set": ["targets.duplicates=positive", "checkpoint.best_by=recall"],
    "seeds": [1],
    "kg_seeds": [1, 2],
    "sets": {"retrieval": {}, "real": {"where": {"caption_source": ["real"]}}},
    "choose": {"by": "recall", "seeds": [101], "kg_seeds": [9], "settings": {"optim.lr": [0.002, 1e-9]}},
    "snapshots": {"moved": {"is_a": {"shuffled": "kg_seed"}}},
    "arms": {
        "clip": {"title": "CLIP"},
        "moved": {"title": "DK + EK", "snapshot": "moved", "set": ["targets.knowledge=dk_ek", "loss.name=sm"]},
        "pixels": {"title": "pixels", "ranker": "raw pixels", "reads": "clip"},
    },
    "minimum_class_size": 4,
}


@pytest.fixture
def layout(service, small, metadata, tmp_path):
    def made(*more, folder="experiment", **changes):
        overrides = small(f"service.url={service.url}", "epochs=1", *more, data=metadata)
        return Layout(Grid.model_validate({**TREE, **changes}), tmp_path / folder, tuple(overrides))

    return made


@pytest.fixture
def here_alone(monkeypatch):
    """Workers that are no processes: to start one takes seconds."""

    class Worker:
        def __init__(self, device, threads):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def do(self, job, stop):
            return do(job)

    monkeypatch.setattr(running, "_Worker", Worker)


def means(workers=1, stop=None, said=None):
    return Means(workers, (None,), stop or threading.Event(), (said if said is not None else []).append)


def test_arms_are_chosen_by_their_own_seeds_and_then_trained_and_scored(layout, service, here_alone):
    here, said = layout(), []
    check(here)
    assert run_experiment(here, IDS, means(said=said)) == []

    record = read_choice(here.folder)
    assert (record.by, record.seeds, set(record.arms)) == ("recall", (101,), {"clip", "moved"})
    for arm, kg_seed in (("clip", None), ("moved", 9)):
        choice = record.arms[arm]
        by_hand = [valid_recall(here.run_dir(Run(arm, 101, kg_seed, number))) for number in (0, 1)]
        assert [list(one.values) for one in choice.tried] == [[value] for value in by_hand]
        assert choice.chosen == by_hand.index(max(by_hand))
        chosen = [read_config(here.run_dir(run)).optim.lr for run in here.reported() if run.arm == arm]
        assert set(chosen) == {(0.002, 1e-9)[choice.chosen]}

    runs = here.reported()
    assert [read_config(here.run_dir(run)).targets.snapshot for run in runs] == [None, OLD, NEW]
    for run in runs:
        every, real = (read_scored(here.evaluation_dir(run, name)) for name in ("retrieval", "real"))
        assert (every.images.height, real.images.height) == (48, 36)
        assert real.evaluation.protocol.where == {"caption_source": ("real",)}
        assert set(real.images["caption_source"]) == {"real"}
    assert said[-1].startswith("runs: 3 of 3 runs")

    asked = len(service.asked)
    assert run_experiment(here, IDS, means()) == []
    assert len(service.asked) == asked, "what is done is not done again"

    judgement, page = write_page(here, "nbclip experiment grid.yaml")
    assert [one.arm for one in judgement.tables[0].rows] == ["clip", "moved", "pixels"]
    assert "nbclip experiment grid.yaml" in Path(page).read_text()

    whole = write_report(here.folder, here.folder / "whole.html", title="one title").read_text()
    assert "<h1>one title</h1>" in whole
    assert "Not finished" not in whole
    for title in ("Training, by arm", "Training loss", "Gallery", "raw pixels", "data:image/jpeg", "arms-train-loss-"):
        assert title in whole
        assert title in Path(page).read_text()
    assert "data:image" not in (here.folder / "page.md").read_text()
    (here.evaluation_dir(Run("moved", 1, 2), "real") / "metrics.json").unlink()
    assert "1 of 2 KG seeds" in write_report(here.folder, here.folder / "part.html").read_text()
    (here.evaluation_dir(Run("clip", 1), "retrieval") / "metrics.json").unlink()
    with pytest.raises(NotFound, match=r"no seed is scored in every arm yet \(1 of 3 runs are\)"):
        write_report(here.folder, here.folder / "part.html")


def test_a_page_without_its_pictures_says_which_is_gone(layout, here_alone, metadata, tmp_path):
    here = layout(choose=None, sets={"retrieval": {}}, arms={"clip": TREE["arms"]["clip"]})
    assert run_experiment(here, {}, means()) == []
    evaluation = here.evaluation_dir(Run("clip", 1), "retrieval")
    scored = read_scored(evaluation)
    gone = scored.images.with_columns(file=pl.lit(str(tmp_path / "gone.png")))
    write_scored(evaluation, dataclasses.replace(scored, images=gone))
    keep_grid(here)
    page = write_report(here.folder, tmp_path / "page.html").read_text()
    assert "gone.png" in page
    assert "Training loss" in page


def test_arms_that_are_chosen_jointly_take_the_candidate_of_the_best_mean_over_them(layout, monkeypatch):
    figures = {
        "clip": {0: (0.50, 0.52), 1: (0.55, 0.55)},
        "moved": {0: (0.60, 0.70), 1: (0.58, 0.62)},
        "alone": {0: (0.1, 0.1), 1: (0.3, 0.3)},
    }
    both = {**TREE["choose"], "seeds": [101, 102], "jointly": [["clip", "moved"]]}
    here = layout(choose=both, arms={**TREE["arms"], "alone": {"title": "alone"}})
    of_dir = {here.run_dir(run): figures[run.arm][run.candidate][run.seed - 101] for run in here.tried()}
    monkeypatch.setattr(choosing, "is_trained", lambda run_dir: run_dir in of_dir)
    monkeypatch.setattr(choosing, "_value", lambda run_dir, by: of_dir[run_dir])
    here.folder.mkdir(parents=True)
    # 0: (.51 + .65) / 2 = .58, 1: (.55 + .60) / 2 = .575; alone, clip would take 1.
    record = choosing.choose(here)
    assert {arm: one.chosen for arm, one in record.arms.items()} == {"clip": 0, "moved": 0, "alone": 1}
    assert record == read_choice(here.folder)
    assert layout(choose={**both, "jointly": []}).grid.choose.group_of("clip") == ("clip",)

    del of_dir[here.run_dir(next(run for run in here.tried() if run.arm == "moved"))]
    assert set(choosing.choose(here).arms) == {"alone"}, "who lacks a run, and who is chosen with it, wait"


def test_pictures_are_also_scored_by_the_concepts_that_a_linker_finds_in_their_captions(layout, here_alone):
    here = layout(choose=None, linked_cuis=True, arms={"clip": TREE["arms"]["clip"]})
    check(here)

    def link(captions):
        return LinkedCuis("one", "http://here", tuple(frozenset({caption[:2]}) for caption in captions))

    link_pictures(here, link, lambda line: None)
    assert run_experiment(here, {}, means()) == []
    scored = read_scored(here.evaluation_dir(Run("clip", 1), "retrieval"))
    assert scored.evaluation.linked.linker == "one"
    same = scored.images.filter(scored.images["modality"] == "CT")["linked_cui_list"].to_list()
    assert same == [["CT"]] * len(same), "a caption begins with its modality"
    _, page = write_page(here, "nbclip experiment grid.yaml")
    assert "Linked CUI overlap@10" in Path(page).read_text()


def valid_recall(run_dir):
    return max(record["recall"] for record in read_metrics(run_dir) if record["kind"] == "valid")


def test_a_run_that_fails_is_named_with_its_log_and_stops_no_other(layout, here_alone):
    here = layout(choose=None)
    failures = run_experiment(here, {**IDS, "moved kg_seed=1": "e" * 64}, means())
    assert [failure.job.run_dir.name for failure in failures] == ["moved-kg1-seed1"]
    assert "no snapshot" in failures[0].reason
    assert "no snapshot" in failures[0].job.log.read_text()
    assert read_scored(here.evaluation_dir(Run("moved", 1, 2), "real")).images.height == 36
    error = failed(failures, here.folder)
    assert error.exit_code == 1
    assert "moved, KG seed 1, seed 1" in error.message
    assert str(failures[0].job.log) in error.hint


def test_a_stop_begins_nothing_and_the_same_call_goes_on(layout, here_alone):
    here, stop = layout(choose=None), threading.Event()
    stop.set()
    assert run_experiment(here, IDS, means(stop=stop)) == []
    assert not (here.folder / "runs").exists()
    assert run_experiment(here, IDS, means()) == []


def test_a_process_that_is_killed_fails_its_run_alone(layout):
    here, runs = layout("epochs=300", choose=None), [Run("clip", 1), Run("moved", 1, 1)]
    stop = threading.Event()

    def kill():
        eventually(lambda: all((here.run_dir(run) / "metrics.jsonl").exists() for run in runs), 120)
        stop.set()
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    (failure,) = run_experiment(here, IDS, means(2, stop))
    killer.join()
    assert failure.reason == "its process was killed (out of memory?)"
    (other,) = {here.run_dir(run) for run in runs} - {failure.job.run_dir}
    assert load_checkpoint(other).step > 0, "the other one was stopped"


def test_a_command_that_is_killed_leaves_no_run_behind_that_holds_its_lock(layout):
    here = layout("epochs=300", choose=None)
    lock = here.run_dir(Run("clip", 1)) / ".lock"
    command = multiprocessing.get_context("fork").Process(target=lambda: run_experiment(here, IDS, means()))
    command.start()
    eventually(lambda: (lock.parent / "metrics.jsonl").exists(), 60)
    assert not is_free(lock)
    command.kill()
    command.join()
    eventually(lambda: is_free(lock), 10)


def is_free(lock):
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_features_of_locked_towers_are_computed_once_for_trainings_and_evaluations(layout, here_alone):
    locked = ["model.image.unlocked=0", "model.text.unlocked=0", "augmentation.kind=none", "model.logit_scale=10"]
    arms = {"clip": TREE["arms"]["clip"], "frozen": {"title": "frozen", "ranker": "backbone", "reads": "clip"}}
    here = layout(*locked, arms=arms, choose=None)
    check(here)
    assert run_experiment(here, {}, means()) == []
    entries = [path for path in (here.folder / "features").iterdir() if (path / "found.json").is_file()]
    assert len(entries) == 2, "of train and valid"
    assert len(list((here.folder / "features/scored").glob("*.npy"))) == 6, "images, captions and pixels of both sets"


def weights_of(run_dir):
    return part(load_checkpoint(run_dir).tensors, "model")


def test_an_arm_goes_on_from_the_weights_of_another(layout, here_alone):
    on = {"title": "on", "starts_from": "clip", "set": ["optim.lr=1e-12", "optim.weight_decay=0"]}
    here, said = layout(seeds=[1, 2], arms={"clip": {"title": "CLIP", "set": ["optim.lr=0.01"]}, "on": on}), []
    check(here)
    assert run_experiment(here, {}, means(said=said)) == []
    for seed in (1, 2):
        start, after = (weights_of(here.run_dir(Run(arm, seed))) for arm in ("clip", "on"))
        trained = [name for name in start if "running" not in name and "num_batches" not in name]
        assert all(torch.allclose(start[name], after[name], atol=1e-6) for name in trained)
    assert not torch.allclose(
        weights_of(here.run_dir(Run("on", 1)))["logit_scale"], weights_of(here.run_dir(Run("on", 2)))["logit_scale"]
    )
    assert said[-1] == "runs that go on from others: 2 of 2 runs: on, seed 2"


def test_an_arm_waits_for_the_run_that_it_goes_on_from(layout, here_alone):
    on = {"title": "on", "starts_from": "clip"}
    here = layout(choose=None, arms={"clip": {"title": "CLIP", "set": ["optim.lr=1e30", "optim.clip_norm=null"]}, "on": on})
    (failure,) = run_experiment(here, {}, means())
    assert failure.job.run_dir == here.run_dir(Run("clip", 1))
    assert not here.run_dir(Run("on", 1)).exists()


def test_the_papers_own_form_is_trained_scored_and_judged_beside_its_twin(service, small, metadata, tmp_path, here_alone):
    shipped = read_grid("paper-form").model_dump(exclude_unset=True)
    small_set = {"set": ["checkpoint.best_by=recall"], "seeds": [1], "kg_seeds": [1], "minimum_class_size": 4}
    tree = {**shipped, **small_set, "choose": None, "linked_cuis": False}
    overrides = small(f"service.url={service.url}", "epochs=1", data=metadata)
    here = Layout(Grid.model_validate(tree), tmp_path / "experiment", tuple(overrides))
    check(here)
    assert run_experiment(here, {"hybrid": OLD, "transe kg_seed=1": NEW}, means()) == []
    judgement, page = write_page(here, "nbclip experiment paper-form")
    text = Path(page).read_text()
    assert "the paper&#39;s form, ten epochs on, before the projection" in text
    figures = {row.arm: row.figures["retrieval", ("organ", "P@10")].value for row in judgement.tables[0].rows}
    assert figures["paper_form_before"] != figures["paper_form"], "before the projection there is another space"
    scored = read_scored(here.evaluation_dir(Run("paper_form", 1, 1), "retrieval"))
    assert scored.features["backbone"].shape[1] != scored.features["image"].shape[1]
    asked = [body for body in service.asked if body.get("representation") == "transe"]
    assert {(body["knowledge"], body["snapshot"]) for body in asked} == {("dk_ek", NEW)}


BACKBONE = {"title": "x", "ranker": "backbone", "reads": "clip"}
REFUSED = [
    ({"sets": {"own": {"split": "retreival"}}}, [], InvalidInput, "retreival"),
    ({"sets": {"own": {"where": {"source": ["nowhere"]}}}}, [], InvalidInput, r"sets.own.where.source='nowhere'.*no row"),
    ({"sets": {"own": {"where": {"sauce": ["x"]}}}}, [], NotFound, "sauce"),
    ({}, ["data.exclude={source: [somewhere]}"], InvalidInput, "leaves none"),
    ({}, ["data.valid_split=null", "checkpoint.best_by=loss"], InvalidInput, "choose.by=recall: data.valid_split is null"),
    ({}, ["data.train_split=nowhere"], InvalidInput, "nowhere"),
    ({"snapshots": {"moved": {"is_a": {"labels": ["sauce"]}}}}, [], InvalidInput, "no value in the column sauce"),
    ({"arms": {**TREE["arms"], "pixels": BACKBONE}}, [], InvalidInput, "towers of clip train"),
    (
        {"arms": {**TREE["arms"], "pixels": {**BACKBONE, "ranker": "trained backbone"}}},
        ["model.image.unlocked=0", "model.text.unlocked=0"],
        InvalidInput,
        "towers of clip are locked",
    ),
    ({"arms": {"clip": {"title": "CLIP", "set": ["epochs=none"]}}}, [], InvalidInput, "arms.clip: epochs='none'"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "settings", "error", "says"), REFUSED)
def test_what_a_run_would_stumble_over_is_refused_before_the_first(layout, changes, settings, error, says):
    here = layout(*settings, **changes)
    with pytest.raises(error, match=says):
        check(here)
    assert not here.folder.exists()


def test_labels_that_a_choice_needs_are_asked_for_first(layout, write_pairs):
    here = layout(choose={**TREE["choose"], "by": "precision_at_10"})
    check(here)
    bare = write_pairs("bare.csv")
    unlabelled = Layout(here.grid, here.folder, (*here.overrides, f"data.files=['{bare}']"))
    with pytest.raises(InvalidInput, match="split 'valid' has no value in modality, organ"):
        check(unlabelled)


def test_a_folder_of_other_runs_is_refused_before_the_first(layout, here_alone):
    assert run_experiment(layout(choose=None), IDS, means()) == []
    with pytest.raises(Conflict, match="epochs: 1 -> 2"):
        run_experiment(layout("epochs=2", choose=None), IDS, means())


def test_is_a_of_labels_comes_from_training_captions_alone(layout):
    config = layout().config(Run("clip", 1), {}, {})
    asked = []

    def link(captions):
        asked.extend(captions)
        return [frozenset({f"C000000{caption[0] == 'C'}"[:7] + str(int("head" in caption))}) for caption in captions]

    edges = edges_of_labels(config, ["organ"], link)
    assert len(asked) == 48
    assert len(edges) == len({concept for concept, _ in edges}) >= 1


def test_progress_tells_the_time_left_at_the_rate_so_far(monkeypatch):
    monkeypatch.setattr("nbclip_trainer.experiments.running.time.monotonic", lambda: 1240.0)
    assert Progress(10, 4, done=2, started=1000.0).line() == "6 of 10 runs, 8 min left"
    assert Progress(10, 4, done=0, started=1000.0).line() == "4 of 10 runs"
    assert Progress(10, 4, done=6, started=1000.0).line() == "10 of 10 runs"


def test_choice_and_grid_are_read_back_as_they_were_written(layout):
    here = layout()
    check(here)
    assert Grid.model_validate(yaml.safe_load((here.folder / "grid.yaml").read_text())) == here.grid
    assert read_choice(here.folder) is None
    (here.folder / "choice.json").write_text(json.dumps({"by": "recall"}))
    with pytest.raises(BrokenArtefact, match=r"choice.json"):
        read_choice(here.folder)
