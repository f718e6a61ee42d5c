import math

import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.errors import NonFiniteLoss
from nbclip_trainer.training.session import build_session
from nbclip_trainer.training.step import train_step


@pytest.fixture
def session(small):
    return build_session(load_config("tiny-clip", small("optim.lr=1e-2", "optim.warmup=0.5")))


def step(session):
    batch = next(iter(session.plan.batches(0)))
    return train_step(session, batch, next(session.train.images.training([batch])).pixels, session.answer(batch))


def test_a_step_is_taken_at_the_learning_rate_of_the_schedule(session):
    figures = step(session).figures.read()
    assert 0 < figures["learning_rate"] < 1e-2
    assert [group["lr"] for group in session.optimizer.param_groups] == pytest.approx(
        [figures["learning_rate"]] * len(session.optimizer.param_groups)
    )


def test_the_logit_scale_stays_at_most_100(session):
    with torch.no_grad():
        session.parts.model.logit_scale.fill_(6.0)
    step(session)
    assert session.parts.model.logit_scale.item() <= math.log(100) + 1e-6


@pytest.mark.parametrize("chunk_size", ["null", "4"])
def test_a_fixed_logit_scale_is_what_it_was_while_all_else_trains(small, chunk_size):
    scale = ("model.logit_scale=5", "model.logit_scale_trains=false", f"device.chunk_size={chunk_size}")
    tower = "model.architecture.vision_cfg={image_size: 32, layers: 1, width: 32, head_width: 16, patch_size: 16}"
    session = build_session(load_config("tiny-clip", small(*scale, tower)))
    before = session.parts.model.logit_scale.detach().clone()
    projection = session.parts.model.visual.proj.detach().clone()
    assert step(session).figures.read()["logit_scale"] == pytest.approx(5)
    assert torch.equal(session.parts.model.logit_scale, before)
    assert not torch.equal(session.parts.model.visual.proj, projection)


def test_a_capped_logit_scale_ends_at_its_cap_and_the_log_says_where_it_is(small):
    overrides = ("model.logit_scale=7", "model.logit_scale_max=7.01", "optim.logit_scale_lr=1", "optim.warmup=0")
    session = build_session(load_config("tiny-clip", small(*overrides)))
    scale = session.parts.model.logit_scale
    with torch.no_grad():
        scale.fill_(3.0)
    assert step(session).figures.read()["logit_scale"] == pytest.approx(7.01)
    assert scale.exp().item() == pytest.approx(7.01)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["model.logit_scale_max=10"], "logit_scale=14.2857 starts above logit_scale_max=10"),
        (["model.logit_scale=5", "model.logit_scale_max=10", "model.logit_scale_trains=false"], "bounds a scale that trains"),
        (["model.logit_scale_max=0.5"], "logit_scale_max"),
    ],
)
def test_a_scale_that_contradicts_itself_is_refused(small, overrides, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        load_config("tiny-clip", small(*overrides))


def test_a_gradient_that_is_not_finite_changes_nothing(session):
    weight = session.parts.model.visual.conv1.weight
    before = weight.detach().clone()
    weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NonFiniteLoss, match="gradient norm"):
        step(session).figures.read()
    assert torch.equal(weight, before)


def test_scheduled_targets_are_logged_where_they_are(small):
    overrides = (
        "targets={knowledge: noise, noise: per_image, neighbour_mass: 0.4, schedule: {neighbour_mass: 0}}",
        "loss.name=sm",
    )
    session = build_session(load_config("tiny-clip", small(*overrides)))
    first, second = list(session.plan.batches(0))[:2]
    images = session.train.images.training([first, second])
    masses = [
        train_step(session, batch, next(images).pixels, session.answer(batch)).figures.read()["neighbour_mass"]
        for batch in (first, second)
    ]
    assert masses == pytest.approx([0.4, 0.4 * (1 - 1 / session.plan.steps)])
