import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from nbclip import codec
from nbclip.errors import Conflict, InvalidInput, ServiceAway
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.errors import NonFiniteLoss
from nbclip_trainer.runs import durable, writer
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.runs.folder import read_facts
from nbclip_trainer.runs.quarantine import read_quarantine
from nbclip_trainer.runs.tracking import read_metrics
from nbclip_trainer.trained.loading import load_run
from nbclip_trainer.training import loop
from nbclip_trainer.training.loop import train
from nbclip_trainer.training.session import build_session
from nbclip_trainer.training.step import train_step
from PIL import Image
from rich.console import Console
from support.counts import often
from support.forking import nbclip
from support.waiting import StopAfter, eventually

NEW = "f" * 64
KILLS = often(1, 5)


def records(run_dir, kind="train"):
    return [record for record in read_metrics(run_dir) if record["kind"] == kind]


def losses(run_dir):
    return [(record["step"], record["loss"]) for record in records(run_dir)]


def same_tensors(run_dir, other):
    first, second = (load_checkpoint(folder) for folder in (run_dir, other))
    assert first.step == second.step
    assert first.tensors.keys() == second.tensors.keys()
    return all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())


def inputs(session, batch):
    return next(session.train.images.training([batch])).pixels, session.answer(batch)


def test_the_loss_falls_and_the_folder_tells_how(small, tmp_path):
    config = load_config("tiny-clip", small("epochs=12", "optim.lr=1e-2"))
    outcome = train(config, tmp_path / "run")
    assert (outcome.steps, outcome.planned, outcome.finished) == (36, 36, True)
    curve = [loss for _, loss in losses(tmp_path / "run")]
    assert len(curve) == 36
    assert sum(curve[-3:]) / 3 < 0.75 * sum(curve[:3]) / 3
    valid = records(tmp_path / "run", "valid")
    assert [record["step"] for record in valid] == list(range(3, 37, 3))
    assert valid[-1]["loss"] == outcome.valid_loss
    best = max(valid, key=lambda record: record["recall"])["step"]
    assert load_checkpoint(tmp_path / "run", "best", "recall").step == best
    facts = read_facts(tmp_path / "run")
    assert facts["data"]["train"]["pairs"] == 24
    assert list((tmp_path / "run" / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("tiny-clip", []),
        ("tiny-nbclip", []),
        ("tiny-nbclip", ["targets.knowledge=noise", "targets.noise=per_step", "loss.name=sigmoid_soft"]),
        ("tiny-nbclip", ["data.pictures=disk", "augmentation.kind=open_clip", "data.workers=1", "loss.name=mse"]),
    ],
)
def test_stopping_and_going_on_is_the_same_as_never_stopping(small, tmp_path, service, preset, overrides):
    config = load_config(preset, small(f"service.url={service.url}", *overrides))
    train(config, tmp_path / "straight")
    for steps in (2, 2):
        outcome = train(config, tmp_path / "resumed", resume=True, stop=StopAfter(steps))
        assert not outcome.finished
    assert train(config, tmp_path / "resumed", resume=True).finished
    assert losses(tmp_path / "resumed") == losses(tmp_path / "straight")
    assert records(tmp_path / "resumed", "valid") == records(tmp_path / "straight", "valid")
    assert same_tensors(tmp_path / "resumed", tmp_path / "straight")


def test_a_killed_process_goes_on_where_its_checkpoint_was(small, tmp_path, record_property):
    overrides = small("checkpoint.every=2", f"epochs={6 * (KILLS + 1)}")
    config = load_config("tiny-clip", overrides)
    command = ["train", "--preset", "tiny-clip", "--run", tmp_path / "killed"]
    command += [part for override in overrides for part in ("--set", override)]
    for number in range(KILLS):
        deadline = time.monotonic() + 60
        with nbclip(*command, *(["--resume"] if number else [])) as training:
            while newest_checkpoint(tmp_path / "killed") < 10 + 15 * number and time.monotonic() < deadline:
                time.sleep(0.002)
        assert training.exitcode == -signal.SIGKILL
    record_property("kills of the trainer", KILLS)
    assert train(config, tmp_path / "killed", resume=True).finished
    train(config, tmp_path / "straight")
    assert losses(tmp_path / "killed") == losses(tmp_path / "straight")
    assert same_tensors(tmp_path / "killed", tmp_path / "straight")


def slow_after_step_4():
    flush = durable.sync

    def slow(path):
        if path.name.endswith(".tmp") and "00000004" not in path.name and path.name.startswith(".step"):
            time.sleep(600)
        flush(path)

    durable.sync = slow


def test_a_run_goes_on_while_a_checkpoint_is_written_and_a_kill_then_leaves_the_one_before(small, write_pairs, tmp_path):
    """The checkpoint of step 8 hangs on its way to the disk; step 9, step 10 and a validation are done meanwhile."""
    overrides = small("checkpoint.every=4", data=write_pairs(train=80))
    config = load_config("tiny-clip", overrides)
    settings = [part for override in overrides for part in ("--set", override)]
    command = ["train", "--preset", "tiny-clip", "--run", tmp_path / "killed", *settings]
    with nbclip(*command, changed=slow_after_step_4) as training:
        eventually(lambda: not training.is_alive() or records(tmp_path / "killed", "valid"), 120)
    assert training.exitcode == -signal.SIGKILL
    assert [step for step, _ in losses(tmp_path / "killed")] == list(range(1, 11))
    assert load_checkpoint(tmp_path / "killed").step == 4
    assert list((tmp_path / "killed" / "checkpoints").glob(".step-00000008*"))
    assert train(config, tmp_path / "killed", resume=True).finished
    train(config, tmp_path / "straight")
    assert losses(tmp_path / "killed") == losses(tmp_path / "straight")
    assert same_tensors(tmp_path / "killed", tmp_path / "straight")
    assert not list((tmp_path / "killed" / "checkpoints").glob(".*"))


@pytest.mark.parametrize(("minutes", "steps"), [("1e-9", [1, 2, 3, 4, 5, 6]), ("600", [3, 6]), ("null", [3, 6])])
def test_checkpoints_come_by_the_clock_too(small, tmp_path, minutes, steps):
    train(load_config("tiny-clip", small(f"checkpoint.every_minutes={minutes}", "checkpoint.keep=9")), tmp_path / "run")
    assert sorted(int(path.stem.rpartition("-")[2]) for path in tmp_path.glob("run/checkpoints/*.json")) == steps


def test_a_checkpoint_that_cannot_be_written_stops_the_run(small, tmp_path, monkeypatch):
    def full(run_dir, checkpoint, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "save_checkpoint", full)
    with pytest.raises(OSError, match="No space left"):
        train(load_config("tiny-clip", small("epochs=2000", "checkpoint.every=1")), tmp_path / "run")
    assert len(losses(tmp_path / "run")) < 10


def newest_checkpoint(run_dir):
    """The step of the newest one, 0 if there is none."""
    return max((int(path.stem.rpartition("-")[2]) for path in run_dir.glob("checkpoints/*-*.json")), default=0)


def test_resuming_a_finished_run_changes_nothing(small, tmp_path):
    config = load_config("tiny-clip", small())
    train(config, tmp_path / "run")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert train(config, tmp_path / "run", resume=True).finished
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "run" / "checkpoints").iterdir()) == before


def test_a_folder_with_a_run_other_settings_or_other_data_is_refused(small, write_pairs, tmp_path):
    train(load_config("tiny-clip", small()), tmp_path / "run")
    with pytest.raises(Conflict, match="already has a run"):
        train(load_config("tiny-clip", small()), tmp_path / "run")
    with pytest.raises(Conflict, match=r"seed: 42 -> 1"):
        train(load_config("tiny-clip", small("seed=1")), tmp_path / "run", resume=True)
    with pytest.raises(Conflict, match=r"train.pairs: 24 -> 16"):
        train(load_config("tiny-clip", small(data=write_pairs(train=16))), tmp_path / "run", resume=True)


def test_targets_come_from_the_service_for_every_batch(small, tmp_path, service):
    service.without = {f"id{number}" for number in range(0, 32, 10)}
    train(load_config("tiny-nbclip", small(f"service.url={service.url}")), tmp_path / "run")
    batches = [body for body in service.asked if body["on_unknown"] == "error"]
    assert len(batches) == 6
    assert all(body["image_ids"] == body["column_ids"] and len(body["image_ids"]) == 8 for body in batches)
    assert {body["snapshot"] for body in batches} == {NEW}
    targets = read_facts(tmp_path / "run")["targets"]
    assert targets["snapshot"] == NEW
    assert targets["without_knowledge"] == pytest.approx(3 / 24)
    first = records(tmp_path / "run")[0]
    assert first["kl"] < first["loss"]
    assert records(tmp_path / "run", "diagnostics")[0]["effective_positives"] > 1.5


def test_a_resumed_run_keeps_its_snapshot(small, tmp_path, service):
    config = load_config("tiny-nbclip", small(f"service.url={service.url}"))
    train(config, tmp_path / "run", stop=StopAfter(1))
    service.snapshots = {NEW: False, "1" * 64: True}
    service.asked.clear()
    train(config, tmp_path / "run", resume=True)
    assert {body["snapshot"] for body in service.asked} == {NEW}


def test_images_that_the_snapshot_lacks_stop_the_run_before_it_starts(small, tmp_path, service):
    service.unknown = {"id3", "id30"}
    with pytest.raises(InvalidInput, match=r"lacks 1 of 24 training images: id3;"):
        train(load_config("tiny-nbclip", small(f"service.url={service.url}")), tmp_path / "run")


def test_a_service_that_goes_away_leaves_a_checkpoint_and_the_run_goes_on_later(small, tmp_path, service):
    config = load_config("tiny-nbclip", small(f"service.url={service.url}", "service.prefetch=1", "service.give_up_after=1"))
    train(config, tmp_path / "straight")
    service.asked.clear()
    given_up = threading.Event()
    answer = service.matrix

    def die_after_the_third(rows, columns, snapshot):
        if len(service.asked) == 4 and not given_up.is_set():  # the first looks all images up
            given_up.set()
            threading.Thread(target=service.stop).start()
        return answer(rows, columns, snapshot)

    service.matrix = die_after_the_third
    with pytest.raises(ServiceAway):
        train(config, tmp_path / "run")
    assert 1 <= load_checkpoint(tmp_path / "run").step <= 5
    service.start()
    assert train(config, tmp_path / "run", resume=True).finished
    assert losses(tmp_path / "run") == losses(tmp_path / "straight")
    assert same_tensors(tmp_path / "run", tmp_path / "straight")


def test_a_loss_that_is_not_finite_changes_no_weight_and_names_the_images(small):
    session = build_session(load_config("tiny-clip", small()))
    batch = next(session.plan.batches())
    images, matrix = inputs(session, batch)
    before = {name: parameter.detach().clone() for name, parameter in session.parts.model.named_parameters()}
    images[3] = torch.nan
    with pytest.raises(NonFiniteLoss, match="step 1: loss is nan") as stopped:
        train_step(session, batch, images, matrix).figures.read()
    assert stopped.value.exit_code == 1
    for row in batch.rows:
        assert session.train.dataset.ids[row] in stopped.value.message
    assert all(torch.equal(before[name], parameter) for name, parameter in session.parts.model.named_parameters())


def test_gradients_are_clipped_to_the_norm_asked_for(small):
    session = build_session(load_config("tiny-clip", small("optim.clip_norm=0.01")))
    batch = next(session.plan.batches())
    result = train_step(session, batch, *inputs(session, batch))
    norm = torch.stack([parameter.grad.norm() for parameter in session.parts.model.parameters()]).norm().item()
    assert result.figures.read()["gradient_norm"] > 0.01
    assert norm == pytest.approx(0.01, rel=1e-3)


def test_a_sigmoid_bias_starts_from_the_first_batch(small, service):
    session = build_session(
        load_config("tiny-nbclip", small(f"service.url={service.url}", "loss.name=sigmoid_soft", "optim.lr=1e-9"))
    )
    batch = next(session.plan.batches())
    result = train_step(session, batch, *inputs(session, batch))
    mean_logit = result.cosine.image_text.mean().item() / 0.07 + session.parts.model.logit_bias.item()
    assert 1 / (1 + math.exp(-mean_logit)) == pytest.approx(result.targets.similarity.clamp(0, 1).mean().item(), rel=1e-3)
    session.source.close()


def test_the_alarm_of_flat_targets_is_written_down(small, tmp_path, service, caplog):
    train(load_config("tiny-paper-literal", small(f"service.url={service.url}", "model.logit_scale=50")), tmp_path / "run")
    [alarm] = [record["message"] for record in records(tmp_path / "run", "alarm") if "flat" in record["message"]][:1]
    assert "flat targets" in alarm
    assert "flat targets" in caplog.text


def test_a_cut_off_record_is_dropped_when_the_run_goes_on(small, tmp_path):
    config = load_config("tiny-clip", small())
    train(config, tmp_path / "run", stop=StopAfter(2))
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "train", "step": 3, "loss": 0.0}) + '\n{"kind": "tr')
    train(config, tmp_path / "run", resume=True)
    assert [step for step, _ in losses(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    assert all(loss > 0 for _, loss in losses(tmp_path / "run"))


def test_a_finished_run_loads_for_evaluation(small, tmp_path):
    config = load_config("tiny-clip", small())
    train(config, tmp_path / "run")
    for which in ("last", "best"):
        model, tokenizer, preprocess, found, step = load_run(tmp_path / "run", which)
        saved = load_checkpoint(tmp_path / "run", which, "recall").tensors
        assert step == load_checkpoint(tmp_path / "run", which, "recall").step
        assert all(torch.equal(tensor, saved[f"model.{name}"]) for name, tensor in model.state_dict().items())
        assert not model.training
        assert found == config
        assert tokenizer(["a"]).shape == (1, 16)
        assert callable(preprocess)


def test_training_without_a_validation_split_has_no_best(small, tmp_path):
    outcome = train(load_config("tiny-clip", small("data.valid_split=null", "epochs=1")), tmp_path / "run")
    assert outcome.valid_loss is None
    assert not records(tmp_path / "run", "valid")


STILL = ("optim.lr=1e-9", "optim.logit_scale_lr=1e-9", "epochs=9", "validation.patience=2", "validation.min_improvement=0.5")
"""A run that learns nothing: the best validation is its first, after the first epoch of 3 steps."""


def test_a_run_without_progress_ends_early_and_is_finished(small, tmp_path, capsys):
    config = load_config("tiny-clip", small(*STILL))
    console = Console(file=sys.stdout)
    outcome = train(config, tmp_path / "run", console=console)
    assert (outcome.steps, outcome.planned, outcome.finished) == (9, 27, True)
    why = "with a patience of 2 epochs (validation.patience)"
    assert "ended early, after step 9 of 27: no better recall than" in (said := capsys.readouterr().out)
    assert f"at step 3, {why}" in said
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    again = train(config, tmp_path / "run", resume=True, console=console)
    assert (again.steps, again.finished, why in capsys.readouterr().out) == (9, True, True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_a_longer_patience_lets_a_run_that_ended_early_go_on(small, tmp_path):
    train(load_config("tiny-clip", small(*STILL)), tmp_path / "run")
    longer = load_config("tiny-clip", small(*STILL, "validation.patience=4"))
    assert train(longer, tmp_path / "run", resume=True).steps == 15
    train(longer, tmp_path / "straight")
    assert same_tensors(tmp_path / "run", tmp_path / "straight")
    assert records(tmp_path / "run", "valid") == records(tmp_path / "straight", "valid")


def test_patience_survives_a_stop_at_any_step(small, tmp_path):
    config = load_config("tiny-clip", small(*STILL, "validation.every=2"))
    straight = train(config, tmp_path / "straight")
    assert [record["step"] for record in records(tmp_path / "straight", "valid")] == [2, 3, 4, 6, 8]
    while not (outcome := train(config, tmp_path / "resumed", resume=True, stop=StopAfter(1))).finished:
        pass
    assert (outcome.steps, straight.steps) == (8, 8)
    assert records(tmp_path / "resumed", "valid") == records(tmp_path / "straight", "valid")
    states = [load_checkpoint(tmp_path / run).state["validations"] for run in ("resumed", "straight")]
    assert states[0] == states[1]
    assert same_tensors(tmp_path / "resumed", tmp_path / "straight")


def test_nothing_is_left_behind_in_the_working_folder(small, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    train(load_config("tiny-clip", small("epochs=1")), tmp_path / "run")
    assert os.listdir(Path.cwd()) == []  # noqa: PTH208


ON_DISK = ("data.pictures=disk", "augmentation.kind=open_clip", "data.check=headers", "data.max_bad_share=0.2")


def cut(pairs, *numbers):
    """Pictures that begin well and end in the middle: a look at their headers does not find them."""
    for number in numbers:
        path = pairs.parent / f"{number}.png"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def left_out(run_dir):
    return {(one.image_id, one.step) for one in read_quarantine(run_dir)}


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_found_at_once_late_or_after_a_resume_make_the_same_run(small, write_pairs, tmp_path, workers, caplog):
    """Three of training, one of validation: 0 stands in for others too, being next in no order that is known here."""
    pairs = write_pairs()
    cut(pairs, 3, 8, 19, 27)
    config = load_config("tiny-clip", small(*ON_DISK, f"data.workers={workers}", "epochs=3", data=pairs))
    at_once = config.model_copy(update={"data": config.data.model_copy(update={"check": "decode"})})
    train(at_once, tmp_path / "at once")
    assert left_out(tmp_path / "at once") == {(f"id{number}", 0) for number in (3, 8, 19, 27)}
    caplog.clear()
    train(config, tmp_path / "late")
    found = left_out(tmp_path / "late")
    assert {image_id for image_id, _ in found} == {"id3", "id8", "id19", "id27"}
    assert max(step for _, step in found) > 0
    assert sum("left out: " in record.message for record in caplog.records) == 4, "each is named once"
    while not train(config, tmp_path / "resumed", resume=True, stop=StopAfter(2)).finished:
        pass
    for run in ("late", "resumed"):
        assert losses(tmp_path / run) == losses(tmp_path / "at once")
        assert records(tmp_path / run, "valid") == records(tmp_path / "at once", "valid")
        assert same_tensors(tmp_path / run, tmp_path / "at once")
    assert left_out(tmp_path / "resumed") == found


def test_beyond_the_share_a_run_stops_with_a_checkpoint_and_goes_on_where_more_are_allowed(small, write_pairs, tmp_path):
    pairs = write_pairs()
    overrides = small(*ON_DISK, "data.workers=0", "checkpoint.every=1", data=pairs)
    config = load_config("tiny-clip", [*overrides, "data.max_bad_share=0.05"])
    last = set(build_session(config).plan.batch(2).rows[:2].tolist())
    cut(pairs, *last)
    with pytest.raises(
        InvalidInput, match=r"2 of 24 images can't be decoded, more than data\.max_bad_share=0\.05; .*png"
    ) as stopped:
        train(config, tmp_path / "run")
    assert "--resume" in stopped.value.hint
    assert load_checkpoint(tmp_path / "run").step == 2
    assert left_out(tmp_path / "run") == set(), "what stopped the run is tried again when it goes on"
    with pytest.raises(InvalidInput, match="2 of 24"):
        train(config, tmp_path / "run", resume=True)
    tolerant = load_config("tiny-clip", overrides)
    assert train(tolerant, tmp_path / "run", resume=True).finished
    train(tolerant, tmp_path / "straight")
    assert left_out(tmp_path / "run") == {(f"id{row}", 2) for row in last}
    assert losses(tmp_path / "run") == losses(tmp_path / "straight")
    assert same_tensors(tmp_path / "run", tmp_path / "straight")


def test_an_image_that_was_left_out_stays_out_until_its_line_goes(small, write_pairs, tmp_path):
    pairs = write_pairs()
    whole = (pairs.parent / "3.png").read_bytes()
    cut(pairs, 3)
    config = load_config("tiny-clip", small(*ON_DISK, "data.workers=0", "data.check=decode", "epochs=3", data=pairs))
    train(config, tmp_path / "straight")
    train(config, tmp_path / "run", stop=StopAfter(4))
    (pairs.parent / "3.png").write_bytes(whole)
    train(config, tmp_path / "run", resume=True, stop=StopAfter(2))
    assert left_out(tmp_path / "run") == {("id3", 0)}
    (tmp_path / "run" / "quarantine.jsonl").unlink()
    train(config, tmp_path / "run", resume=True)
    assert left_out(tmp_path / "run") == set()
    assert losses(tmp_path / "run")[:5] == losses(tmp_path / "straight")[:5]
    assert losses(tmp_path / "run") != losses(tmp_path / "straight")


def test_targets_of_a_batch_that_changed_are_asked_for_again(small, write_pairs, tmp_path, service):
    pairs = write_pairs()
    overrides = small(*ON_DISK, "data.workers=0", f"service.url={service.url}", data=pairs)
    config = load_config("tiny-nbclip", overrides)
    row = int(build_session(load_config("tiny-clip", overrides)).plan.batch(1).rows[3])
    cut(pairs, row)
    train(config, tmp_path / "run")
    with_it = [body for body in service.asked if f"id{row}" in body["image_ids"] and body["on_unknown"] == "error"]
    asked = [body["image_ids"] for body in service.asked if body["on_unknown"] == "error"]
    assert len(with_it) >= 1
    assert any(f"id{row}" not in ids and set(with_it[0]["image_ids"]) - {f"id{row}"} < set(ids) for ids in asked)
    assert train(load_config("tiny-nbclip", [*overrides, "data.check=decode"]), tmp_path / "at once").finished
    assert losses(tmp_path / "run") == losses(tmp_path / "at once")


def test_captions_that_are_cut_and_files_of_several_images_are_told_at_the_start(small, write_pairs, tmp_path, caplog):
    pairs = write_pairs()
    lines = pairs.read_text().splitlines()
    lines[1] = f"id0,0.gif,{' '.join(['bone'] * 30)},train"
    pairs.write_text("\n".join(lines))
    Image.new("L", (8, 8)).save(pairs.parent / "0.gif", save_all=True, append_images=[Image.new("L", (8, 8), 9)])
    train(load_config("tiny-clip", small("epochs=1", data=pairs)), tmp_path / "run")
    assert "split train: captions cut at the 16 tokens that the text tower reads: 1, the longest of 32" in caplog.text
    assert f"split train: files of several images, of which the first is taken: 1, at {pairs}:2 (2)" in caplog.text
    cut_captions = read_facts(tmp_path / "run")["data"]["train"]["captions_cut"]
    assert cut_captions == {"captions": 1, "longest": 32, "context": 16}


def test_rows_that_were_left_out_are_counted_and_the_first_named_in_the_facts(small, write_pairs, tmp_path):
    pairs = write_pairs(train=60)
    lines = pairs.read_text().splitlines()
    empty = [f"e{number},0.png,,{'train' if number % 2 else 'valid'}" for number in range(25)]
    pairs.write_text("\n".join([*lines, *empty, "only one field"]))
    overrides = small("epochs=1", "data.max_bad_row_share=0.5", data=pairs)
    train(load_config("tiny-clip", overrides), tmp_path / "run")
    bad_rows = read_facts(tmp_path / "run")["bad_rows"]
    assert bad_rows == {
        "count": 26,
        "first": [f"{pairs}:{len(lines) + 1 + number}: empty caption: image e{number}" for number in range(20)],
    }
    assert train(load_config("tiny-clip", [*overrides, "log.every=3"]), tmp_path / "run", resume=True).finished
    assert read_facts(tmp_path / "run")["bad_rows"] == bad_rows
    train(load_config("tiny-clip", small("epochs=1", data=write_pairs("whole.csv"))), tmp_path / "whole")
    assert read_facts(tmp_path / "whole")["bad_rows"] == {"count": 0, "first": []}


def test_a_group_in_two_splits_is_a_leak(small, write_pairs, tmp_path, caplog):
    pairs = write_pairs(group="p1")
    with pytest.raises(
        InvalidInput, match=r"leak: values of group in two splits: 1, p1 \(train at .*pairs\.csv:2, valid at "
    ) as no:
        train(load_config("tiny-clip", small(data=pairs)), tmp_path / "run")
    assert "data.allow_leaks=true" in no.value.hint
    train(load_config("tiny-clip", small("data.allow_leaks=true", "epochs=1", data=pairs)), tmp_path / "run")
    [leak] = read_facts(tmp_path / "run")["leaks"]
    assert leak.startswith("values of group in two splits: 1, p1")
    assert "leak, allowed by data.allow_leaks: values" in caplog.text


def test_a_snapshot_that_knows_other_images_is_a_leak(small, tmp_path, service):
    overrides = small(f"service.url={service.url}", "epochs=1")
    service.unknown = {"id24", "id25", "id26"}
    with pytest.raises(InvalidInput, match=r"leak: snapshot ffffffffffff holds images that are not trained on: 5 of split valid"):
        train(load_config("tiny-nbclip", overrides), tmp_path / "run")
    service.split = "valid"
    with pytest.raises(InvalidInput, match=r"was published of split 'valid', not of 'train'; snapshot .* holds") as refused:
        train(load_config("tiny-nbclip", overrides), tmp_path / "run")
    assert "kg-service snapshot publish --split train" in refused.value.hint
    train(load_config("tiny-nbclip", [*overrides, "data.allow_leaks=true"]), tmp_path / "run")
    assert len(read_facts(tmp_path / "run")["leaks"]) == 2


@pytest.mark.parametrize("split", [None, "train"])
def test_a_snapshot_of_the_training_split_or_of_all_that_holds_no_other_image_is_none(small, tmp_path, service, split):
    service.split = split
    train(load_config("tiny-nbclip", small(f"service.url={service.url}", "epochs=1")), tmp_path / "run")
    assert read_facts(tmp_path / "run")["leaks"] == []


@pytest.mark.parametrize(("split", "others", "leak"), [
    ("train", [], None), (None, [], None), ("valid", [], "was published of split 'valid'"),
    ("train", ["id24", "id31"], "holds images that are not trained on: 2 of split valid"), (None, ["id30"], "1 of split valid"),
])  # fmt: skip
def test_a_snapshots_file_leaks_as_a_service_does(small, tmp_path, split, others, leak):
    """A file of 0.1.0 has no split: its images tell."""
    ids = [*(f"id{number}" for number in range(24)), *others]
    text = [image_id.encode() for image_id in ids]
    tensors = {
        "sparse_indptr": np.arange(len(ids) + 1, dtype=np.int32),
        "sparse_indices": np.zeros(len(ids), np.int32),
        "sparse_data": np.ones(len(ids), np.float32),
        "dense": np.zeros((len(ids), 0), np.float32),
        "id_bytes": np.frombuffer(b"".join(text), np.uint8),
        "id_offsets": np.cumsum([0, *map(len, text)], dtype=np.int64),
    }
    metadata = {"columns": "1", "snapshot": NEW, "knowledge": "dk_ek", "representation": "hybrid"}
    file = tmp_path / "vectors.safetensors"
    file.write_bytes(codec.write_tensors(tensors, {**metadata, **({"split": split} if split else {})}))
    overrides = small("targets.mode=snapshot", f"targets.file={file}", "epochs=1")
    if leak is None:
        assert train(load_config("tiny-nbclip", overrides), tmp_path / "run").finished
        return
    with pytest.raises(InvalidInput, match=leak):
        train(load_config("tiny-nbclip", overrides), tmp_path / "run")
    train(load_config("tiny-nbclip", [*overrides, "data.allow_leaks=true"]), tmp_path / "run")
    assert leak in read_facts(tmp_path / "run")["leaks"][0]


def test_a_run_that_dies_after_it_found_bad_images_goes_on_alike(small, write_pairs, tmp_path, monkeypatch):
    """It dies in its fourth step, with a checkpoint of the second: the list of what is left out is ahead of that."""
    pairs = write_pairs(train=40)
    config = load_config("tiny-clip", small(*ON_DISK, "data.workers=0", "checkpoint.every=2", data=pairs))
    plan = build_session(config).plan
    bad = [int(plan.batch(2).rows[0]), int(plan.batch(3).rows[7])]
    cut(pairs, *bad)
    train(config, tmp_path / "straight")
    take = loop.train_step

    def die(session, batch, *rest):
        if batch.step == 3:
            raise RuntimeError("killed")
        return take(session, batch, *rest)

    monkeypatch.setattr(loop, "train_step", die)
    with pytest.raises(RuntimeError, match="killed"):
        train(config, tmp_path / "run")
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "run").step == 2
    assert left_out(tmp_path / "run") == {(f"id{bad[0]}", 2), (f"id{bad[1]}", 3)}
    assert train(config, tmp_path / "run", resume=True).finished
    assert left_out(tmp_path / "run") == left_out(tmp_path / "straight")
    assert losses(tmp_path / "run") == losses(tmp_path / "straight")
    assert same_tensors(tmp_path / "run", tmp_path / "straight")


def test_too_many_bad_images_of_validation_stop_the_run_after_its_checkpoint(small, write_pairs, tmp_path):
    pairs = write_pairs()
    cut(pairs, 27)
    overrides = small(*ON_DISK, "data.workers=0", data=pairs)
    with pytest.raises(InvalidInput, match=r"1 of 8 images can't be decoded, more than data\.max_bad_share=0\.1"):
        train(load_config("tiny-clip", [*overrides, "data.max_bad_share=0.1"]), tmp_path / "run")
    assert load_checkpoint(tmp_path / "run").step == 3
    config = load_config("tiny-clip", overrides)
    assert train(config, tmp_path / "run", resume=True).finished
    train(config, tmp_path / "straight")
    assert records(tmp_path / "run", "valid") == records(tmp_path / "straight", "valid")
    assert same_tensors(tmp_path / "run", tmp_path / "straight")
