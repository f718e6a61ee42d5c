import math

import pytest
import torch
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
    figures = step(session).figures
    assert 0 < figures["learning_rate"] < 1e-2
    assert [group["lr"] for group in session.optimizer.param_groups] == pytest.approx(
        [figures["learning_rate"]] * len(session.optimizer.param_groups)
    )


def test_the_logit_scale_stays_at_most_100(session):
    with torch.no_grad():
        session.parts.model.logit_scale.fill_(6.0)
    step(session)
    assert session.parts.model.logit_scale.item() <= math.log(100) + 1e-6


def test_a_gradient_that_is_not_finite_changes_nothing(session):
    weight = session.parts.model.visual.conv1.weight
    before = weight.detach().clone()
    weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NonFiniteLoss, match="gradient norm"):
        step(session)
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
        train_step(session, batch, next(images).pixels, session.answer(batch)).figures["neighbour_mass"]
        for batch in (first, second)
    ]
    assert masses == pytest.approx([0.4, 0.4 * (1 - 1 / session.plan.steps)])
