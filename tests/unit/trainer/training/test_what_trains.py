"""Whole runs in which not all trains: resumed bit for bit, alike on two ranks, and what they leave."""

import io
from itertools import pairwise

import pytest
import safetensors.torch
import torch
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.optimisation.average import decay_at
from nbclip_trainer.report.compared import compare
from nbclip_trainer.report.notes import honest_notes
from nbclip_trainer.runs.checkpoint import load_checkpoint, part
from nbclip_trainer.runs.folder import read_facts
from nbclip_trainer.runs.results import ScoringProtocol, read_scored
from nbclip_trainer.runs.tracking import read_metrics
from nbclip_trainer.trained.export import export_run
from nbclip_trainer.trained.loading import load_run
from nbclip_trainer.training.loop import train
from nbclip_trainer.training.session import build_session
from rich.console import Console
from support.ranks import run_ranks
from support.waiting import StopAfter

LOCKED = ("model.image.unlocked=1", "model.text.unlocked=0")
KINDS = {
    "locked": LOCKED,
    "rates": ("optim.layer_decay=0.7", "optim.image_lr=1e-3", "optim.head_lr=1e-2"),
    "averaged": ("optim.ema_decay=0.9",),
    "all at once": (*LOCKED, "optim.layer_decay=0.7", "optim.ema_decay=0.9"),
}


def weights(run_dir):
    return load_checkpoint(run_dir).tensors


def curve(run_dir):
    return [(record["kind"], record["step"], record["loss"]) for record in read_metrics(run_dir) if "loss" in record]


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize("kind", KINDS)
def test_stopping_and_going_on_is_the_same_as_never_stopping(small, tmp_path, kind):
    config = load_config("tiny-clip", small(*KINDS[kind]))
    train(config, tmp_path / "straight")
    assert not train(config, tmp_path / "resumed", stop=StopAfter(2)).finished
    assert train(config, tmp_path / "resumed", resume=True).finished
    assert curve(tmp_path / "resumed") == curve(tmp_path / "straight")
    assert equal(weights(tmp_path / "resumed"), weights(tmp_path / "straight"))


def trained(world, config, folder):
    return train(config, folder, world=world).valid_loss


@pytest.mark.parametrize("kind", ["locked", "all at once"])
def test_two_ranks_train_what_one_process_trains(small, tmp_path, kind):
    config = load_config("tiny-clip", small(*KINDS[kind]))
    alone = train(config, tmp_path / "one").valid_loss
    first, second = run_ranks(trained, config, tmp_path / "two")
    assert first == second == pytest.approx(alone, rel=1e-4)
    for (name, found), expected in zip(weights(tmp_path / "two").items(), weights(tmp_path / "one").values(), strict=True):
        if name.startswith(("model.", "average.")):
            torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3, msg=name, equal_nan=True)


def test_what_is_locked_stays_and_costs_a_checkpoint_nothing_but_itself(small, tmp_path):
    shown = Console(file=io.StringIO(), width=300)
    train(load_config("tiny-clip", small(*LOCKED, "epochs=1")), tmp_path / "run", console=shown)
    before = part(weights_at_the_start(small, tmp_path), "model")
    tensors = weights(tmp_path / "run")
    after = part(tensors, "model")
    changed = {name for name in after if not torch.equal(after[name], before[name]) and after[name].isfinite().all()}
    stays = ("visual.conv", "visual.bn", "visual.layer1", "visual.layer2", "visual.layer3", "transformer", "token", "ln_final")
    assert changed
    assert not {name for name in changed if name.startswith(stays)}
    assert {"visual.attnpool.c_proj.weight", "text_projection", "logit_scale"} <= changed
    assert {name for name in after if name.startswith("visual.layer4") and "running_mean" in name} <= changed
    assert {name.rpartition("/")[0] for name in part(tensors, "optimizer")} == {
        name for name in changed if "running" not in name and "tracked" not in name
    }
    counts = read_facts(tmp_path / "run")["parameters"]
    assert 0 < counts["trained"] < counts["all"] == sum(p.numel() for p in load_run(tmp_path / "run").model.parameters())
    assert f"{counts['trained']:,} of {counts['all']:,} parameters train" in shown.file.getvalue()


def weights_at_the_start(small, tmp_path):
    """Those of the same seed after one step with a learning rate that rounds to nothing."""
    train(load_config("tiny-clip", small(*LOCKED, "epochs=1", "optim.lr=1e-30")), tmp_path / "start")
    return weights(tmp_path / "start")


def test_the_average_is_what_is_validated_scored_and_exported(small, tmp_path):
    config = load_config("tiny-clip", small("optim.ema_decay=0.9", "epochs=1", "checkpoint.every=1", "checkpoint.keep=9"))
    train(config, tmp_path / "run")
    folders = sorted((tmp_path / "run" / "checkpoints").glob("*.safetensors"))
    steps = [safetensors.torch.load_file(path) for path in folders]
    assert len(steps) == 3
    name = "visual.conv1.weight"
    for number, (last, now) in enumerate(pairwise(steps), 2):
        decay = decay_at(number, 0.9)
        expected = decay * last[f"average.{name}"] + (1 - decay) * now[f"model.{name}"]
        torch.testing.assert_close(now[f"average.{name}"], expected)
    assert not torch.equal(steps[-1][f"average.{name}"], steps[-1][f"model.{name}"])
    model = load_run(tmp_path / "run").model
    assert torch.equal(model.visual.conv1.weight, steps[-1][f"average.{name}"])
    assert valid_loss_of(model, config, tmp_path) == pytest.approx(curve_of_valid(tmp_path / "run"), abs=1e-5)
    card = (export_run(tmp_path / "run", tmp_path / "exported") / "README.md").read_text()
    assert "moving average over the steps, with decay 0.9" in card


def curve_of_valid(run_dir):
    return [loss for kind, _, loss in curve(run_dir) if kind == "valid"][-1]


def valid_loss_of(model, config, tmp_path):
    """InfoNCE of the eight validation pairs, by hand."""
    session = build_session(config)
    images = next(session.valid.images.plain([list(range(8))])).pixels
    with torch.no_grad():
        out = model(images, session.valid.tokens[:8].long())
    logits = out["logit_scale"] * out["image_features"] @ out["text_features"].T
    own = torch.arange(8)
    return sum(torch.nn.functional.cross_entropy(z, own).item() for z in (logits, logits.T)) / 2


def test_an_evaluation_and_a_report_say_that_they_are_of_the_average(small, metadata, tmp_path):
    protocol = ScoringProtocol(minimum_class_size=4, resamples=100)
    for name, more in (("last", []), ("averaged", ["optim.ema_decay=0.9"])):
        train(load_config("tiny-clip", small("epochs=1", *more, data=metadata)), tmp_path / name)
        evaluate_run(tmp_path / name, protocol=protocol)
        assert read_scored(tmp_path / name).evaluation.averaged == (name == "averaged")
    notes = honest_notes(compare([tmp_path / "last", tmp_path / "averaged"]))
    assert "averaged: scored by an average of the weights over the steps; the others by their last weights." in notes
