"""Several ranks must be the training of one process, only faster: two gloo ranks beside one process, on a CPU."""

import os
import signal
import sys
from collections import defaultdict
from itertools import count, product

import numpy as np
import open_clip
import pytest
import torch
from nbclip.errors import InvalidInput, ServiceAway, Unavailable
from nbclip_trainer.cli.main import main
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.parallel.averaging import averaging
from nbclip_trainer.parallel.collectives import from_first, gathered, mean_over_ranks, on_any_rank
from nbclip_trainer.parallel.normalisation import normalise_over_ranks
from nbclip_trainer.parallel.settings import DeviceSettings
from nbclip_trainer.parallel.world import alone
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.runs.folder import read_facts
from nbclip_trainer.runs.quarantine import read_quarantine
from nbclip_trainer.runs.tracking import read_metrics
from nbclip_trainer.targets.source import NoiseSource
from nbclip_trainer.training import loop
from nbclip_trainer.training.loop import train
from nbclip_trainer.training.session import build_session
from support.counts import often
from support.ranks import run_ranks
from support.steps import LOSSES, SHAPES, difference, overrides, steps, write_pairs
from support.towers import write_bert
from torch.distributed import run as torchrun
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.nn.functional import normalize

ALONE = alone(DeviceSettings(name="cpu"))
CASES = list(product(LOSSES, SHAPES))
KILLS = often(1, 3)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("ranks") / "data")


def test_two_ranks_take_the_step_of_one_process_with_towers_of_timm_and_hugging_face(pairs, tmp_path):
    """Without dropout, which is drawn by rank. The image tower's gradients, in float32 mostly rounding, are compared below."""
    bert = write_bert(tmp_path / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    vision = "model.architecture.vision_cfg={image_size: 64, timm_model_name: test_efficientnet}"
    text = f"model.architecture.text_cfg={{context_length: 16, hf_model_name: {bert}}}"
    case = [vision, text, *LOSSES["sm"]]
    (alone,), *ranks = steps(ALONE, pairs, [case]), *run_ranks(steps, pairs, [case])
    for (found,) in ranks:
        assert found.figures == pytest.approx(alone.figures, rel=1e-5)
        apart, where = difference(
            *({name: one for name, one in step.gradients.items() if name.startswith("text.")} for step in (alone, found))
        )
        assert apart < 1e-4, where


@pytest.fixture(scope="module", params=[False, True], ids=["float32", "float64"])
def precise(request):
    return request.param


@pytest.fixture(scope="module")
def step_of(pairs, precise):
    """Each case's step in one process, and on both of two ranks."""
    cases = [[*LOSSES[loss], *SHAPES[shape]] for loss, shape in CASES]
    found = steps(ALONE, pairs, cases, precise), *run_ranks(steps, pairs, cases, precise)
    return dict(zip(CASES, zip(*found, strict=True), strict=True))


@pytest.mark.parametrize("case", CASES, ids=" - ".join)
def test_two_ranks_take_the_step_of_one_process(step_of, precise, case):
    """Up to rounding, of which float64 leaves nothing: there is no other difference. Targets are float32 in both."""
    alone, first, second = step_of[case]
    assert first.figures == second.figures
    assert first.figures == pytest.approx(alone.figures, rel=1e-7 if precise else 2e-6)
    apart, where = difference(alone.gradients, first.gradients)
    assert apart < (1e-12 if precise else 4e-6), where
    assert all(np.array_equal(gradient, second.gradients[name]) for name, gradient in first.gradients.items())


def test_the_forms_of_targets_differ_from_each_other(step_of):
    """Else the cases above would be one case."""
    shown = {shape: step_of["sm", shape][0].figures["loss"] for shape in SHAPES}
    assert len({round(loss, 4) for loss in shown.values()}) == len(SHAPES)


def infonce(world, features, loss_of):
    image, text = (part[world.own(np.arange(6))].requires_grad_() for part in features)
    scale = torch.tensor(14.0, requires_grad=True)
    loss_of(world)(image, text, scale).backward()
    return image.grad.numpy(), text.grad.numpy(), scale.grad.item()


def ours(world):
    def loss(image, text, scale):
        image_CD, text_CD = gathered(torch.stack([image, text], dim=1), world).unbind(dim=1)
        own_R = world.own_columns(6)
        return sum(torch.nn.functional.cross_entropy(scale * z, own_R) for z in (image @ text_CD.T, text @ image_CD.T)) / 2

    return loss


def open_clips(world):
    return open_clip.ClipLoss(local_loss=True, gather_with_grad=True, rank=world.rank, world_size=world.ranks)


def test_gathered_features_have_open_clips_gradients():
    generator = torch.Generator().manual_seed(3)
    features = [normalize(torch.randn(6, 5, generator=generator, dtype=torch.float64), dim=1).float() for _ in range(2)]
    for mine, theirs in zip(run_ranks(infonce, features, ours), run_ranks(infonce, features, open_clips), strict=True):
        for found, expected in zip(mine, theirs, strict=True):
            assert np.allclose(found, expected, atol=1e-6)


class ImagesAlone(torch.nn.Module):
    """A tower of images as a model."""

    def __init__(self, tower):
        super().__init__()
        self.tower = tower
        self.logit_scale = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, images, _):
        features = self.tower(images)
        return {"image_features": features, "text_features": features.detach(), "logit_scale": self.logit_scale.exp()}


TOWERS = {
    "ModifiedResNet": lambda: open_clip.model.ModifiedResNet([1, 1, 1, 1], 16, 2, 32, 8),
    # Its layers of normalisation have the activation inside.
    "timm's EfficientNet": lambda: open_clip.timm_model.TimmModel("test_efficientnet", 16, 32),
}


def gradients_of(world, tower, locked):
    torch.manual_seed(0)
    model = ImagesAlone(TOWERS[tower]()).double()
    normalise_over_ranks(model, world)
    for name in locked:
        model.get_submodule(name).requires_grad_(False)
    images, weights = torch.rand(8, 3, 32, 32, dtype=torch.float64), torch.randn(8, 16, dtype=torch.float64)
    own = world.own(np.arange(8))
    encoder = averaging(model, world, (images[:2], None))
    features, _, scale = encoder(images[own], None)
    (scale * (normalize(features, dim=1) * weights[own]).sum() / len(own)).backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()} | dict(model.named_buffers())
    return {name: tensor.numpy() for name, tensor in found.items() if tensor is not None}


@pytest.mark.parametrize(
    ("tower", "locked"),
    [
        ("ModifiedResNet", []),
        ("ModifiedResNet", ["tower.conv1", "tower.layer2", "tower.attnpool.k_proj"]),
        ("ModifiedResNet", ["tower"]),
        ("timm's EfficientNet", []),
    ],
)
def test_batch_normalisation_is_over_the_global_batch_and_what_is_locked_has_no_gradient(tower, locked):
    """In float64: a ResNet this small, of eight images, turns float32's rounding into percents of its gradients."""
    alone = gradients_of(ALONE, tower, locked)
    assert any("running_var" in name for name in alone)
    assert not any(name.startswith(f"{module}.") and name.endswith("weight") for name in alone for module in locked)
    for found in run_ranks(gradients_of, tower, locked):
        assert found.keys() == alone.keys()
        for name, expected in alone.items():
            assert np.allclose(found[name], expected, rtol=1e-9, atol=1e-12), name


class StopOn:
    """A stop signal that reaches one rank alone, after so many steps."""

    def __init__(self, steps, here):
        self._left, self._here = steps, here

    def is_set(self):
        self._left -= 1
        return self._here and self._left <= 0


def runs(world, pairs, folder):
    """Whole, stopped on rank 1 only and resumed by two ranks, then what one process began and what it will end."""
    config = load_config("tiny-nbclip", overrides(pairs, *LOSSES["sm"], "epochs=3"))
    outcomes = [
        train(config, folder / "two", world=world),
        train(config, folder / "two stopped", world=world, stop=StopOn(3, world.rank == 1)),
        train(config, folder / "two stopped", world=world, resume=True),
        train(config, folder / "one then two", world=world, resume=True),
        train(config, folder / "two then one", world=world, stop=StopOn(3, world.rank == 0)),
    ]
    return [(outcome.steps, outcome.valid_loss) for outcome in outcomes]


def weights(folder):
    """Without biases of attention's keys: softmax takes no notice of them, their gradient is rounding, which Adam makes large."""
    found = {}
    for name, tensor in load_checkpoint(folder).tensors.items():
        if name.startswith("model.") and tensor.isfinite().all():
            found[name] = tensor.numpy()
            if name.endswith("in_proj_bias"):
                np.split(found[name], 3)[1][:] = 0
    return found


def test_a_run_ends_the_same_with_one_process_or_two_or_first_one_then_the_other(pairs, tmp_path):
    config = load_config("tiny-nbclip", overrides(pairs, *LOSSES["sm"], "epochs=3"))
    alone = train(config, tmp_path / "one")
    train(config, tmp_path / "one then two", stop=StopOn(3, here=True))
    first, second = run_ranks(runs, pairs, tmp_path)
    train(config, tmp_path / "two then one", resume=True)
    assert first == second
    assert [done for done, _ in first] == [6, 3, 6, 6, 3]
    assert first[0][1] == pytest.approx(alone.valid_loss, rel=1e-4)
    expected = weights(tmp_path / "one")
    for name in ("two", "two stopped", "one then two", "two then one"):
        found = weights(tmp_path / name)
        assert all(np.allclose(found[key], expected[key], atol=1e-5) for key in expected), name
        assert [record["step"] for record in read_metrics(tmp_path / name) if record["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    stopped, whole = weights(tmp_path / "two stopped"), weights(tmp_path / "two")
    assert all(np.array_equal(stopped[name], whole[name]) for name in whole), "as many ranks: bit for bit"
    assert read_facts(tmp_path / "two")["ranks"] == 2
    moved = max(np.abs(whole[name] - start).max() for name, start in start_of(config).items())
    assert moved > 1e-3, "weights that never moved would agree too"


def three(world, pairs, folder):
    """Whole, then stopped and resumed twice."""
    config = load_config("tiny-nbclip", overrides(pairs, *LOSSES["sm"], "batch_size=6", "epochs=3"))
    train(config, folder / "whole", world=world)
    for more in (3, 4):
        train(config, folder / "resumed", world=world, resume=True, stop=StopOn(more, world.rank == 2))
    return train(config, folder / "resumed", world=world, resume=True).finished


def test_three_ranks_add_in_the_same_order_after_a_resume(pairs, tmp_path):
    """Of two, any order gives the same sum."""
    assert run_ranks(three, pairs, tmp_path, ranks=3) == [True] * 3
    whole, resumed = (load_checkpoint(tmp_path / name).tensors for name in ("whole", "resumed"))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def start_of(config):
    model = build_session(config).parts.model
    return {f"model.{name}": tensor.numpy() for name, tensor in model.state_dict().items() if tensor.isfinite().all()}


def trained(world, config, folder):
    return train(config, folder, world=world).steps


def test_each_rank_asks_for_its_own_rows_and_all_columns(pairs, tmp_path, service):
    service.unknown = {f"id{number}" for number in range(0, 24, 6)}
    knowledge = ["targets.knowledge=dk_ek", "targets.noise=service", f"service.url={service.url}", "epochs=1"]
    run_ranks(trained, load_config("tiny-nbclip", overrides(pairs, *knowledge)), tmp_path / "run")
    asked = defaultdict(list)
    for body in service.asked:
        if body["on_unknown"] == "error":
            asked[tuple(body["column_ids"])].append(tuple(body["image_ids"]))
    assert len(asked) == 2, "one global batch a step"
    for columns, rows in asked.items():
        assert sorted(rows) == sorted([columns[:4], columns[4:]])
    assert sum(body["on_unknown"] == "flag" for body in service.asked) == 2, "rank 0 looks all images up: of training, and others"


def stopped_by_a_service_that_one_rank_lost(world, config, folder):
    fetch, calls = NoiseSource.fetch, count()

    def away_at_the_third(source, rows, columns):
        if world.rank == 1 and next(calls) == 2:
            raise ServiceAway("gone")
        return fetch(source, rows, columns)

    NoiseSource.fetch = away_at_the_third
    try:
        train(config, folder, world=world)
    except Unavailable as error:
        return type(error).__name__
    finally:
        NoiseSource.fetch = fetch


def test_a_rank_without_targets_stops_all_after_the_same_step(pairs, tmp_path):
    config = load_config("tiny-nbclip", overrides(pairs, "epochs=3"))
    assert run_ranks(stopped_by_a_service_that_one_rank_lost, config, tmp_path / "run") == ["RankLost", "ServiceAway"]
    assert load_checkpoint(tmp_path / "run").step == 2


def said(world):
    mean = mean_over_ranks(torch.tensor([world.rank, 4.0]), world).tolist()
    return from_first(("first", world.rank), world), mean, on_any_rank(world.rank == 1, world)


def test_ranks_agree():
    assert run_ranks(said) == [(("first", 0), [0.5, 4], True)] * 2
    assert said(ALONE) == (("first", 0), [0, 4], False)


def command_that_dies(arguments):
    """`nbclip train` as torchrun's agent starts it; rank 1 is killed before its fourth step, then before its fifth, and so on."""
    take, before = loop.train_step, int(os.environ["TORCHELASTIC_RESTART_COUNT"])

    def train_step(session, batch, *rest):
        if before < KILLS and batch.step == 3 + before and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return take(session, batch, *rest)

    loop.train_step, sys.argv = train_step, ["nbclip", *arguments]
    try:
        main()
    except SystemExit as ended:
        if ended.code:  # one that returns waits for the others, until the agent kills it after 30 s
            raise


def test_torchrun_starts_all_again_after_a_rank_is_killed_and_the_run_ends_as_if_it_had_not_been(
    pairs, tmp_path, record_property
):
    settings = overrides(pairs, *LOSSES["sm"], "epochs=3", "checkpoint.every=1")
    words = ["train", "--preset", "tiny-nbclip", "-r", str(tmp_path / "killed")]
    words += [part for setting in settings for part in ("--set", setting)]
    arguments = torchrun.parse_args(
        ["--standalone", "--nproc-per-node=2", f"--max-restarts={KILLS}", "-m", "nbclip_trainer", *words]
    )
    assert arguments.training_script_args == words, "torchrun took an option of ours for its own"
    run_ranks(trained, load_config("tiny-nbclip", settings), tmp_path / "unbroken")
    # torchrun's agent without its start: forked ranks have torch, processes of its own would import it five times.
    agent = LaunchConfig(
        1,
        1,
        2,
        max_restarts=KILLS,
        start_method="forkserver",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        monitor_interval=0.1,
    )
    elastic_launch(agent, command_that_dies)(words)
    record_property("kills of a rank", KILLS)
    killed, unbroken = weights(tmp_path / "killed"), weights(tmp_path / "unbroken")
    assert all(np.array_equal(killed[name], unbroken[name]) for name in unbroken)
    assert [record["step"] for record in read_metrics(tmp_path / "killed") if record["kind"] == "train"] == [1, 2, 3, 4, 5, 6]


def cut(pairs, numbers):
    """Pictures of which the headers alone are whole."""
    for number in numbers:
        path = pairs.parent / f"{number}.png"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_bad_images(world, pairs, folder):
    """Found late, found late with a stop on one rank and a resume, found at once."""
    settings = overrides(pairs, *ON_DISK, "epochs=3")
    config = load_config("tiny-nbclip", settings)
    train(config, folder / "late", world=world)
    train(config, folder / "resumed", world=world, stop=StopOn(3, world.rank == 1))
    train(config, folder / "resumed", world=world, resume=True)
    return train(load_config("tiny-nbclip", [*settings, "data.check=decode"]), folder / "at once", world=world).finished


ON_DISK = (
    "data.pictures=disk", "augmentation.kind=open_clip", "data.check=headers", "data.max_bad_share=0.3", "data.workers=0",
    "targets.knowledge=noise", "targets.noise=per_step", "loss.name=sm",
)  # fmt: skip


def curve(folder):
    return [(record["kind"], record["step"], record["loss"]) for record in read_metrics(folder) if "loss" in record]


def found(folder):
    return {(one.image_id, one.step) for one in read_quarantine(folder)}


def test_two_ranks_leave_out_the_same_images_whenever_one_of_them_finds_them(tmp_path):
    """Rows of either rank's share, and one of validation; noise that follows from a batch's ids tells if they differ."""
    pairs = write_pairs(tmp_path / "data")
    cut(pairs, (2, 7, 15, 21, 12))
    assert run_ranks(with_bad_images, pairs, tmp_path) == [True, True]
    bad = {"id2", "id7", "id15", "id21", "id12"}
    assert found(tmp_path / "at once") == {(image_id, 0) for image_id in bad}
    assert found(tmp_path / "late") == found(tmp_path / "resumed")
    assert {image_id for image_id, _ in found(tmp_path / "late")} == bad
    whole = load_checkpoint(tmp_path / "at once").tensors
    for run in ("late", "resumed"):
        assert curve(tmp_path / run) == curve(tmp_path / "at once")
        again = load_checkpoint(tmp_path / run).tensors
        assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    alone = load_config("tiny-nbclip", overrides(pairs, *ON_DISK, "epochs=3"))
    train(alone, tmp_path / "alone")
    assert {image_id for image_id, _ in found(tmp_path / "alone")} == bad
    for (*mine, loss), (*theirs, of_two) in zip(curve(tmp_path / "alone"), curve(tmp_path / "late"), strict=True):
        assert mine == theirs
        assert loss == pytest.approx(of_two, rel=1e-3)


def beyond_the_share(world, pairs, folder):
    config = load_config("tiny-nbclip", [*overrides(pairs, *ON_DISK, "epochs=3"), "data.max_bad_share=0.06"])
    try:
        train(config, folder, world=world)
    except InvalidInput as error:
        return error.message.partition(" images")[0]


def test_beyond_the_share_all_ranks_stop_alike(tmp_path):
    pairs = write_pairs(tmp_path / "data")
    cut(pairs, (2, 7))
    assert run_ranks(beyond_the_share, pairs, tmp_path / "run") == ["2 of 20"] * 2
    assert len(found(tmp_path / "run")) <= 1
    assert run_ranks(goes_on, pairs, tmp_path / "run") == [True] * 2


def goes_on(world, pairs, folder):
    return train(load_config("tiny-nbclip", overrides(pairs, *ON_DISK, "epochs=3")), folder, world=world, resume=True).finished
