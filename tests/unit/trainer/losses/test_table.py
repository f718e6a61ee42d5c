"""Losses chosen by settings: what each computes and declares, what the table refuses, and one of one's own."""

import open_clip
import pytest
import torch
from nbclip import losses
from nbclip.errors import InvalidInput
from nbclip.losses import cosines
from nbclip_trainer.config.reading import config_of, load_config
from nbclip_trainer.config.tree import to_yaml
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.losses.loss import LossInput
from nbclip_trainer.losses.table import LOSSES
from nbclip_trainer.report.report import write_report
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.runs.results import ScoringProtocol
from nbclip_trainer.runs.tracking import read_metrics
from nbclip_trainer.targets.rows import Targets, caption_keys, target_rows
from nbclip_trainer.targets.source import IdentitySource
from nbclip_trainer.training.loop import train
from support.own_loss import Hinge
from support.waiting import StopAfter
from torch.nn.functional import cross_entropy, normalize

SCALE, BIAS, OWN = torch.tensor(10.0), torch.tensor(-1.0), torch.arange(3)
SIMILARITY = torch.tensor([[1, 0.6, 0.2], [0.6, 1, 0.4], [0.2, 0.4, 1]])
ROWS = torch.tensor([[0.8, 0.2, 0], [0.2, 0.7, 0.1], [0, 0.1, 0.9]])


def given():
    generator = torch.Generator().manual_seed(1)
    cosine = cosines(*(normalize(torch.randn(3, 5, generator=generator), dim=1) for _ in range(2)))
    return LossInput(cosine, SCALE, BIAS, Targets(ROWS, SIMILARITY, OWN, torch.ones(3, dtype=torch.bool)))


def expected(cosine):
    """What each loss is by `nbclip.losses`, by its settings."""
    return {
        "infonce": losses.cross_entropy(cosine, SCALE, ROWS),
        "sm": losses.cross_entropy(cosine, SCALE, ROWS),
        "mse": losses.mse_of_cosines(cosine, SIMILARITY),
        "mse mse_on=prob diagonal_weight=0.2": losses.mse_of_probabilities(cosine, SCALE, ROWS, diagonal_weight=0.2),
        "sigmoid_soft": losses.sigmoid_soft(cosine, SCALE, BIAS, SIMILARITY),
        "sigmoid_fff threshold=0.3": losses.sigmoid_fff(cosine, SCALE, BIAS, SIMILARITY, threshold=0.3),
    }


def chosen(words):
    name, *parameters = words.split()
    return load_config("nbclip-tiny", [f"loss.{setting}" for setting in (f"name={name}", *parameters)]).loss


def test_settings_choose_the_loss_and_its_parameters():
    batch = given()
    for words, value in expected(batch.cosine).items():
        assert torch.equal(chosen(words).compute(batch)["loss"], value), words


def clip_of(captions, **settings):
    """Loss without knowledge as `tiny-clip` has it, and the features and scale it was computed of."""
    generator = torch.Generator().manual_seed(2)
    image, text = (normalize(torch.randn(len(captions), 5, generator=generator), dim=1) for _ in range(2))
    config = load_config("tiny-clip", [f"{key}={value}" for key, value in settings.items()])
    ids, own, keys = [f"i{n}" for n in range(len(captions))], torch.arange(len(captions)), caption_keys(captions)
    targets = target_rows(IdentitySource().fetch(ids, ids), own, keys, keys, config.targets, torch.device("cpu"))
    return config.loss.compute(LossInput(cosines(image, text), SCALE, None, targets))["loss"], image, text


def test_without_equal_captions_clip_is_open_clips_loss_and_with_them_they_share_the_target():
    loss, image, text = clip_of(["a", "b", "c", "d"])
    torch.testing.assert_close(loss, open_clip.ClipLoss()(image, text, SCALE))
    shared, _, _ = clip_of(["a", "b", "a", "d"])
    halves = torch.tensor([[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]])
    logits = SCALE * image @ text.T
    torch.testing.assert_close(shared, (cross_entropy(logits, halves) + cross_entropy(logits.T, halves)) / 2)
    ignored, _, _ = clip_of(["a", "b", "a", "d"], **{"targets.duplicates": "ignore"})
    torch.testing.assert_close(ignored, loss)


def test_squared_error_of_cosines_has_its_identity_twin():
    loss, image, text = clip_of(["a", "b", "a"], **{"loss.name": "mse", "loss.diagonal_weight": "null"})
    wanted = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    torch.testing.assert_close(loss, (image @ text.T - wanted).square().mean())


def test_goals_of_pairs_are_the_similarities_or_which_pairs_are_positive():
    below = SIMILARITY.clone().index_fill_(1, torch.tensor([2]), -0.5)
    targets = Targets(ROWS, below, OWN, torch.ones(3, dtype=torch.bool))
    assert torch.equal(chosen("sigmoid_soft").goals(targets), below.clamp(min=0))
    wanted = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    assert torch.equal(chosen("sigmoid_fff threshold=0.5").goals(targets), wanted)


def test_semantic_matching_logs_the_divergence():
    batch = given()
    parts = chosen("sm").compute(batch)
    assert torch.allclose(parts["kl"], parts["loss"] - losses.entropy(ROWS).mean())


def test_every_loss_has_its_key_for_a_name_and_is_told_apart_by_what_it_needs():
    assert all(kind().name == name for name, kind in LOSSES.items())
    assert {name for name, kind in LOSSES.items() if kind.has_bias} == {"sigmoid_soft", "sigmoid_fff"}
    assert {name for name, kind in LOSSES.items() if not kind.takes_knowledge} == {"infonce"}
    assert [chosen(f"mse mse_on={on}").compares_rows for on in ("cos", "prob")] == [False, True]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.name=clip", r"loss.name='clip': should be one of infonce, sm, mse, sigmoid_soft, sigmoid_fff"),
        ("loss.name=[sm]", r"loss.name=\['sm'\]: should be one of"),
        ("loss.threshold=0.2", r"unknown key 'loss.threshold' \(keys of loss: name\)"),
        ("loss={name: mse, mse_om: prob}", r"unknown key 'loss.mse_om', did you mean 'mse_on'\? .*diagonal_weight"),
        ("loss={name: mse, diagonal_weight: 2}", r"loss.diagonal_weight=2: should be less than or equal to 1"),
        ("loss={name: mse, threshold: 0.2}", r"unknown key 'loss.threshold'"),
        ("loss=sm", r"loss='sm': should be"),
    ],
)
def test_a_parameter_that_a_loss_lacks_and_a_loss_that_is_not_there_are_refused(override, message):
    with pytest.raises(InvalidInput, match=message) as refused:
        load_config("tiny-nbclip", [override])
    assert "\n" not in refused.value.message


def test_another_loss_inherits_no_parameters(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: tiny-nbclip\nloss: {name: mse, mse_on: prob}\n")
    preset = str(tmp_path / "mine.yaml")
    assert load_config(preset).loss.mse_on == "prob"
    assert load_config(preset, ["loss.diagonal_weight=null"]).loss.model_dump() == {
        "name": "mse", "mse_on": "prob", "diagonal_weight": None,
    }  # fmt: skip
    assert load_config(preset, ["loss.name=sm"]).loss.model_dump() == {"name": "sm"}


@pytest.mark.parametrize("name", LOSSES)
def test_settings_of_0_1_0_have_every_losss_parameters_and_are_read(name):
    """At their defaults what other losses are told says nothing."""
    section = {"name": name, "mse_on": "cos", "diagonal_weight": 0.5, "threshold": 0.5}
    assert config_of({"loss": section}).loss == LOSSES[name]()


@pytest.fixture
def hinge(monkeypatch):
    monkeypatch.setitem(LOSSES, "hinge", Hinge)


def test_a_loss_of_ones_own_is_trained_with_resumed_scored_and_reported(hinge, small, service, metadata, tmp_path):
    overrides = small(f"service.url={service.url}", "loss.name=hinge", "loss.margin=0.3", data=metadata)
    config = load_config("tiny-nbclip", overrides)
    assert config.loss == Hinge(margin=0.3)
    (tmp_path / "mine.yaml").write_text(to_yaml(config))
    assert load_config(str(tmp_path / "mine.yaml")) == config

    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(config, straight)
    assert not train(config, resumed, stop=StopAfter(2)).finished
    assert train(config, resumed, resume=True).finished
    records = [[record for record in read_metrics(run) if record["kind"] == "train"] for run in (straight, resumed)]
    assert [record["loss"] for record in records[0]] == [record["loss"] for record in records[1]]
    assert all(0 <= record["reached"] <= 1 for record in records[0])
    assert records[0][-1]["loss"] < records[0][0]["loss"]
    tensors, again = (load_checkpoint(run).tensors for run in (straight, resumed))
    assert all(torch.equal(tensor, again[name]) for name, tensor in tensors.items())

    evaluate_run(straight, protocol=ScoringProtocol(class_ks=(1, 5), cui_ks=(1, 5), minimum_class_size=4, resamples=100))
    assert "hinge" in write_report([straight], tmp_path / "report.html").read_text()


def test_a_loss_of_ones_own_is_refused_where_its_parameters_are_wrong(hinge):
    with pytest.raises(InvalidInput, match=r"loss.margin=-1: should be greater than or equal to 0"):
        load_config("tiny-nbclip", ["loss={name: hinge, margin: -1}"])
    with pytest.raises(InvalidInput, match=r"unknown key 'loss.margn', did you mean 'margin'\?"):
        load_config("tiny-nbclip", ["loss={name: hinge, margn: 1}"])
