"""No step waits for its own figures, and a failure that is read late has changed no weight."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.errors import NonFiniteLoss
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.training import loop
from nbclip_trainer.training.figures import StepFigures
from nbclip_trainer.training.loop import train
from nbclip_trainer.training.session import build_session
from nbclip_trainer.training.step import train_step
from support.ranks import run_ranks
from support.steps import LOSSES, overrides, write_pairs
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
WAITS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim, aten.equal}


class Waits(TorchDispatchMode):
    """Counts operations after which a GPU's host waits: a value, or a shape, that only the device knows."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        packet = function.overloadpacket
        by_mask = packet is aten.index and any(index is not None and index.dtype == torch.bool for index in args[1])
        if packet in WAITS or by_mask:
            self.found[str(packet)] += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("figures") / "data")


def inputs(session, step):
    batch = session.plan.batch(step)
    return batch, next(session.train.images.training([batch])).pixels, session.answer(batch)


def weights(session):
    return {name: parameter.detach().clone() for name, parameter in session.parts.model.named_parameters()}


def same(first, second):
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize("more", [[], ["device.precision=bf16"], ["device.precision=fp16", "device.chunk_size=3"]])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_waits_for_nothing(pairs, loss, more, monkeypatch):
    session = build_session(load_config("tiny-nbclip", overrides(pairs, *LOSSES[loss], "optim.clip_norm=1", *more)))
    # A scale at which a first step does not overflow.
    session = replace(session, scaler=torch.amp.GradScaler("cpu", init_scale=64.0, enabled=session.scaler.is_enabled()))
    train_step(session, *inputs(session, 0))
    second = inputs(session, 1)
    before = weights(session)
    read = Counter()
    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__"):
        monkeypatch.setattr(torch.Tensor, name, counted(read, name, getattr(torch.Tensor, name)))
    with Waits() as waits:
        result = train_step(session, *second)
    assert (waits.found, read) == ({}, {})
    figures = result.figures.read()
    assert read == {"tolist": 1}
    assert figures["loss"] > 0
    assert figures["gradient_norm"] > 0
    monkeypatch.undo()
    assert not same(before, weights(session))


def counted(read, name, method):
    def call(*arguments, **options):
        read[name] += 1
        return method(*arguments, **options)

    return call


def test_what_would_wait_is_counted():
    with Waits() as waits:
        values = torch.arange(4.0)
        float(values.sum())
        values[values > 1].sum()
        torch.equal(values, values)
        if values[0] < 1:
            values.unique()
    assert waits.found.keys() == {"aten._local_scalar_dense", "aten.index", "aten.equal", "aten._unique2"}


def test_a_steps_figures_are_read_once_the_next_one_is_on_its_way(pairs, tmp_path, monkeypatch):
    said, take, read = [], loop.train_step, StepFigures.read
    monkeypatch.setattr(
        loop, "train_step", lambda session, batch, *rest: said.append(f"step {batch.step}") or take(session, batch, *rest)
    )
    monkeypatch.setattr(StepFigures, "read", lambda figures: said.append(f"read {figures._step}") or read(figures))
    train(load_config("tiny-nbclip", overrides(pairs, "loss.name=sm", "epochs=1", "batch_size=4")), tmp_path / "run")
    # The first is diagnosed, and before a checkpoint all is read.
    assert said == ["step 0", "read 0", "step 1", "step 2", "read 1", "step 3", "read 2", "step 4", "read 3", "read 4"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_after_a_step_that_failed_none_is_applied(pairs, precision):
    session = build_session(load_config("tiny-nbclip", overrides(pairs, "loss.name=sm", f"device.precision={precision}")))
    train_step(session, *inputs(session, 0)).figures.read()
    before, state = weights(session), {name: value.clone() for name, value in first_state(session).items()}
    batch, images, answer = inputs(session, 1)
    images[3] = torch.nan
    failed = train_step(session, batch, images, answer)
    later = train_step(session, *inputs(session, 2))
    assert same(before, weights(session))
    assert same(state, first_state(session)), "nor do the optimizer's moments and its count of steps move"
    with pytest.raises(NonFiniteLoss, match=r"step 2: loss is nan, nothing was applied; its images: id\d+, "):
        failed.figures.read()
    with pytest.raises(NonFiniteLoss):
        later.figures.read()


def first_state(session):
    parameter = session.optimizer.param_groups[0]["params"][0]
    return session.optimizer.state[parameter]


def of_a_run_with_a_bad_batch(world, pairs, folder):
    """Only the second rank's images of the fourth step are bad."""
    take = loop.train_step

    def poisoned(session, batch, images, answer):
        if batch.step == 3 and world.rank == world.ranks - 1:
            images = images * torch.nan
        return take(session, batch, images, answer)

    loop.train_step = poisoned
    try:
        train(load_config("tiny-nbclip", overrides(pairs, "loss.name=sm", "epochs=4", "checkpoint.every=1")), folder, world=world)
    except NonFiniteLoss as error:
        return error.message
    finally:
        loop.train_step = take


def test_a_batch_that_fails_on_one_rank_stops_all_with_the_checkpoint_before_it(pairs, tmp_path):
    first, second = run_ranks(of_a_run_with_a_bad_batch, pairs, tmp_path / "run")
    assert first == second
    assert first.startswith("step 4: loss is nan, nothing was applied; its images: id")
    assert load_checkpoint(tmp_path / "run").step == 3
