import math

import pytest
import torch
from nbclip_trainer.config import Optimisation
from nbclip_trainer.models.building import build_model
from nbclip_trainer.presets import load_config
from nbclip_trainer.training.optimisation import (
    build_optimizer,
    hold_logit_scale,
    learning_rate_factor,
    optimizer_tensors,
    restore_optimizer,
    set_learning_rates,
)
from open_clip_train.scheduler import const_lr, cosine_lr


@pytest.fixture
def model(small):
    return build_model(load_config("tiny-nbclip", small("loss.name=sigmoid_soft"))).model


@pytest.mark.parametrize(("schedule", "reference"), [("cosine", cosine_lr), ("constant", const_lr)])
def test_the_schedule_is_open_clips(schedule, reference):
    settings = Optimisation(schedule=schedule, warmup=0.1, lr=2e-3)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1)
    theirs = reference(optimizer, 2e-3, 10, 100)
    for step in range(100):
        assert 2e-3 * learning_rate_factor(step, 100, settings) == pytest.approx(theirs(step))


def test_without_warm_up_the_first_step_is_at_full_rate():
    assert learning_rate_factor(0, 10, Optimisation(warmup=0)) == 1


def test_vectors_and_scalars_have_no_weight_decay(model):
    optimizer = build_optimizer(model, Optimisation(lr=1e-3, logit_scale_lr=1e-2, weight_decay=0.1))
    matrices, vectors, scalars = optimizer.param_groups
    assert {p.ndim for p in matrices["params"]} >= {2, 4}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert {id(p) for p in scalars["params"]} == {id(model.logit_scale), id(model.logit_bias)}
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0, 0]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    set_learning_rates(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [5e-4, 5e-4, 5e-3]


def test_the_logit_scale_is_held_between_1_and_100(model):
    for value, held in ((-1.0, 1.0), (9.0, 100.0), (math.log(20), 20.0)):
        with torch.no_grad():
            model.logit_scale.fill_(value)
        hold_logit_scale(model)
        assert model.logit_scale.exp().item() == pytest.approx(held)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_state_survives_a_round_trip_in_the_layout_of_its_parameters(model, name):
    model.to(memory_format=torch.channels_last)
    settings = Optimisation(name=name)
    optimizer = build_optimizer(model, settings)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    saved = {key: tensor.clone().contiguous() for key, tensor in optimizer_tensors(model, optimizer).items()}
    fresh = build_optimizer(model, settings)
    restore_optimizer(model, fresh, saved)
    again = optimizer_tensors(model, fresh)
    assert saved.keys() == again.keys()
    assert len(saved) == 3 * len(list(model.parameters()))
    assert all(torch.equal(tensor, again[key]) for key, tensor in saved.items())
    for parameter in model.parameters():
        assert fresh.state[parameter]["exp_avg"].stride() == parameter.stride()
