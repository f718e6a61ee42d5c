import math

import pytest
import torch
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.models.building import build_model
from nbclip_trainer.optimisation.optimizer import (
    build_optimizer,
    hold_logit_scale,
    learning_rates,
    optimizer_tensors,
    restore_optimizer,
)
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


@pytest.mark.parametrize("with_bias", [False, True])
def test_a_cap_holds_the_logit_scale_and_a_fixed_one_is_left_alone(model, with_bias):
    if not with_bias:
        model.logit_bias = None
    for value, held in ((math.log(150), 7.0), (math.log(6), 6.0), (-1.0, 1.0)):
        with torch.no_grad():
            model.logit_scale.fill_(value)
        hold_logit_scale(model, 7.0)
        assert model.logit_scale.exp().item() == pytest.approx(held)
    model.logit_scale.requires_grad_(False).fill_(math.log(117.33))
    hold_logit_scale(model)
    assert model.logit_scale.exp().item() == pytest.approx(117.33)


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


def test_each_tower_has_its_rate_and_both_projections_theirs(model):
    rates = learning_rates(model, OptimisationSettings(lr=1.0, image_lr=0.5, text_lr=0.25, head_lr=2.0, logit_scale_lr=3.0))
    assert rates["visual.layer1.0.conv1.weight"] == rates["visual.attnpool.q_proj.weight"] == 0.5
    assert rates["token_embedding.weight"] == rates["ln_final.bias"] == 0.25
    assert rates["visual.attnpool.c_proj.weight"] == rates["text_projection"] == 2
    assert rates["logit_scale"] == rates["logit_bias"] == 3
    plain = learning_rates(model, OptimisationSettings(lr=1.0, image_lr=0.5))
    assert plain["visual.attnpool.c_proj.weight"] == 0.5, "a projection goes with its tower"
    assert plain["text_projection"] == plain["logit_scale"] == 1


def test_the_rate_falls_from_block_to_block_below_the_projection(model):
    """The tiny model by hand: four residual blocks above a stem, one text block above the embeddings."""
    settings = OptimisationSettings(lr=1.0, text_lr=10.0, layer_decay=0.5)
    rates = learning_rates(model, settings)
    expected = {
        "visual.attnpool.c_proj.bias": 1, "visual.attnpool.k_proj.weight": 1 / 2, "visual.layer4.0.bn3.weight": 1 / 2,
        "visual.layer3.0.conv1.weight": 1 / 4, "visual.layer1.0.downsample.0.weight": 1 / 16, "visual.conv3.weight": 1 / 32,
        "visual.bn1.bias": 1 / 32, "text_projection": 10, "ln_final.weight": 5, "transformer.resblocks.0.mlp.c_fc.bias": 5,
        "positional_embedding": 2.5, "logit_scale": 1, "logit_bias": 1,
    }  # fmt: skip
    assert {name: rates[name] for name in expected} == expected
    optimizer = build_optimizer(model, settings)
    held = {id(parameter): group["base_lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert all(held[id(parameter)] == rates[name] for name, parameter in model.named_parameters())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    kinds = {(group["base_lr"], group["weight_decay"]) for group in optimizer.param_groups[:-1]}
    assert len(kinds) == len(optimizer.param_groups) - 1


def test_what_is_locked_has_no_place_in_it(model):
    model.visual.requires_grad_(False)
    optimizer = build_optimizer(model, OptimisationSettings())
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for name, parameter in model.named_parameters() if not name.startswith("visual")}
