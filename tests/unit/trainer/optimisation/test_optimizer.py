import math

import pytest
import torch
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.models.building import build_model
from nbclip_trainer.optimisation.optimizer import build_optimizer, hold_logit_scale, optimizer_tensors, restore_optimizer
from nbclip_trainer.optimisation.schedule import set_learning_rates
from nbclip_trainer.optimisation.settings import OptimisationSettings


@pytest.fixture
def model(small):
    return build_model(load_config("tiny-nbclip", small()).model, seed=1, with_bias=True).model


def test_vectors_and_scalars_have_no_weight_decay(model):
    optimizer = build_optimizer(model, OptimisationSettings(lr=1e-3, logit_scale_lr=1e-2, weight_decay=0.1))
    matrices, vectors, scalars = optimizer.param_groups
    assert {p.ndim for p in matrices["params"]} >= {2, 4}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert {id(p) for p in scalars["params"]} == {id(model.logit_scale), id(model.logit_bias)}
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0, 0]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    set_learning_rates(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [5e-4, 5e-4, 5e-3]


@pytest.mark.parametrize(("with_bias", "highest"), [(False, 100.0), (True, 150.0)])
def test_the_logit_scale_is_held_between_1_and_100_or_beside_a_bias_above_1(model, with_bias, highest):
    if not with_bias:
        model.logit_bias = None
    for value, held in ((-1.0, 1.0), (math.log(150), highest), (math.log(20), 20.0)):
        with torch.no_grad():
            model.logit_scale.fill_(value)
        hold_logit_scale(model)
        assert model.logit_scale.exp().item() == pytest.approx(held)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_state_survives_a_round_trip_in_the_layout_of_its_parameters(model, name):
    model.to(memory_format=torch.channels_last)
    settings = OptimisationSettings(name=name)
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
