"""Big batches: chunks, checkpointed layers and half precision must give the step that they stand for."""

from itertools import product

import numpy as np
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.errors import NonFiniteLoss
from nbclip_trainer.parallel.settings import DeviceSettings
from nbclip_trainer.parallel.world import alone
from nbclip_trainer.training.gradient_cache import encode
from nbclip_trainer.training.session import build_session
from nbclip_trainer.training.state import capture, restore
from nbclip_trainer.training.step import train_step
from support.ranks import run_ranks
from support.steps import LOSSES, SHAPES, difference, overrides, steps, write_pairs
from torch import nn

ALONE = alone(DeviceSettings(name="cpu"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("chunks") / "data")


@pytest.mark.parametrize(("chunk_size", "shapes"), [(3, SHAPES.values()), (1, [[]]), (4, [[]])])
def test_chunks_give_the_step_of_the_whole_batch(pairs, chunk_size, shapes):
    """Three does not divide eight: the last chunk is smaller."""
    cases = [[*loss, *shape] for loss, shape in product(LOSSES.values(), shapes)]
    whole = steps(ALONE, pairs, cases)
    chunked = steps(ALONE, pairs, [[*case, f"device.chunk_size={chunk_size}"] for case in cases])
    for case, expected, found in zip(cases, whole, chunked, strict=True):
        assert found.figures == pytest.approx(expected.figures, rel=1e-5), case
        apart, where = difference(expected.gradients, found.gradients)
        assert apart < 1e-5, (case, where)


def test_chunks_on_two_ranks_give_the_step_of_one_process(pairs):
    cases = list(LOSSES.values())
    whole = steps(ALONE, pairs, cases)
    [chunked, _] = run_ranks(steps, pairs, [[*case, "device.chunk_size=3"] for case in cases])
    for case, expected, found in zip(cases, whole, chunked, strict=True):
        assert found.figures == pytest.approx(expected.figures, rel=1e-5), case
        assert difference(expected.gradients, found.gradients)[0] < 1e-5, case


def test_a_chunk_drops_the_same_units_both_times():
    """Beside a graph over all chunks at once, each drawn from the seed of its chunk."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.Linear(16, 4))
    images, texts, goal = torch.randn(10, 6), torch.randn(10, 6), torch.randn(10, 10)
    scale = torch.tensor(0.3, requires_grad=True)
    asked = []

    def forward(chunk):
        asked.append((chunk.start, chunk.stop))
        torch.manual_seed(chunk.start)
        return model(images[chunk]), model(texts[chunk]), scale.exp()

    def gradients(features):
        model.zero_grad()
        scale.grad = None
        (features.scalars[0] * features.image @ features.text.T - goal).square().mean().backward()
        features.carry_on()
        return {name: parameter.grad.numpy().copy() for name, parameter in (*model.named_parameters(), ("scale", scale))}

    found = gradients(encode(forward, 10, 4))
    assert asked == [(0, 4), (4, 8), (8, 10)] * 2
    parts = [forward(slice(start, min(start + 4, 10))) for start in (0, 4, 8)]
    image, text = (torch.cat([part[side] for part in parts]) for side in (0, 1))
    model.zero_grad()
    scale.grad = None
    (scale.exp() * image @ text.T - goal).square().mean().backward()
    expected = {name: parameter.grad.numpy() for name, parameter in (*model.named_parameters(), ("scale", scale))}
    assert difference(expected, found)[0] < 1e-5


def test_a_batch_that_fits_one_chunk_is_encoded_once():
    asked = []

    def forward(chunk):
        asked.append(chunk)
        return torch.ones(8, 2), torch.ones(8, 2)

    encode(forward, 8, 8).carry_on()
    encode(forward, 8, None).carry_on()
    assert asked == [slice(0, 8)] * 2


def test_batch_normalisation_in_chunks_is_refused(small):
    with pytest.raises(InvalidInput, match=r"chunk_size=4: the model has batch normalisation"):
        build_session(load_config("tiny-clip", small("device.chunk_size=4")))


def test_checkpointed_layers_give_the_same_step(pairs):
    plain, checkpointed = steps(ALONE, pairs, [LOSSES["sm"], [*LOSSES["sm"], "device.grad_checkpointing=true"]])
    assert checkpointed.figures == pytest.approx(plain.figures, rel=1e-6)
    assert difference(plain.gradients, checkpointed.gradients)[0] < 1e-6
    session = build_session(load_config("tiny-nbclip", overrides(pairs, "device.grad_checkpointing=true")))
    assert session.parts.model.visual.transformer.grad_checkpointing
    assert session.parts.model.transformer.grad_checkpointing


@pytest.mark.parametrize("more", [[], ["device.chunk_size=3"]])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_for_the_towers_and_the_loss_stays_in_float32(pairs, precision, more):
    losses = list(LOSSES.values())
    full = steps(ALONE, pairs, losses)
    half = steps(ALONE, pairs, [[*loss, f"device.precision={precision}", *more] for loss in losses])
    for case, expected, found in zip(losses, full, half, strict=True):
        assert found.logits == torch.float32
        assert found.figures["loss"] == pytest.approx(expected.figures["loss"], rel=0.02), case
        assert found.figures["loss"] != expected.figures["loss"], "the towers did compute in half precision"
        mine, theirs = flat(found), flat(expected)
        assert mine @ theirs / np.linalg.norm(mine) / np.linalg.norm(theirs) > 0.99, case


def flat(step):
    return np.concatenate([step.gradients[name].ravel() for name in sorted(step.gradients)])


def inputs(session):
    batch = next(session.plan.batches())
    return batch, next(session.train.images.training([batch])).pixels, session.answer(batch)


def test_fp16_leaves_out_a_step_that_overflows_and_scales_the_next_one_less(pairs):
    session = build_session(load_config("tiny-nbclip", overrides(pairs, "device.precision=fp16")))
    before = session.scaler.get_scale()
    session.parts.model.visual.conv1.weight.register_hook(lambda gradient: gradient * np.inf)
    weights = session.parts.model.text_projection.detach().clone()
    figures = train_step(session, *inputs(session)).figures.read()
    assert figures["loss_scale"] == before / 2
    assert torch.equal(session.parts.model.text_projection, weights)
    saved = capture(session, 1, [])
    fresh = build_session(load_config("tiny-nbclip", overrides(pairs, "device.precision=fp16")))
    restore(fresh, saved)
    assert fresh.scaler.get_scale() == before / 2
    taken = (train_step(session, *inputs(session)).figures.read() for _ in range(40))
    with pytest.raises(NonFiniteLoss, match="gradient norm"):
        list(taken)
    assert torch.equal(session.parts.model.text_projection, weights)


def test_a_compiled_model_takes_the_same_step_and_has_the_same_names(pairs, monkeypatch):
    """All of torch.compile but the C++ that its default backend takes a minute to write and compile."""
    compiled_with = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled_with(module, backend="aot_eager"))
    plain, compiled = steps(ALONE, pairs, [LOSSES["sm"], [*LOSSES["sm"], "device.compile=true"]])
    assert compiled.figures == pytest.approx(plain.figures, rel=1e-5)
    assert difference(plain.gradients, compiled.gradients)[0] < 1e-5
