"""The script that unpacks the pretrained towers, on packages made of random weights."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

SCRIPT = Path(__file__).parents[3] / "examples" / "weights.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("weights", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def packages(tmp_path, script):
    """Tensors in timm's order under other names, and a zip archive that holds more than is wanted."""
    folder = tmp_path / "packages"
    for name in (script.IMAGE_TOWER, script.TEXT_TOWER):
        (folder / name).parent.mkdir(parents=True)
    torch.manual_seed(1)
    tensors = timm.create_model("tf_efficientnet_lite0").state_dict().values()
    torch.save({f"other.{number}": tensor for number, tensor in enumerate(tensors)}, folder / script.IMAGE_TOWER)
    with zipfile.ZipFile(folder / script.TEXT_TOWER, "w") as archive:
        for name in (*script.TEXT_FILES, "README.md"):
            archive.writestr(name, name)
    return folder


def test_the_towers_are_unpacked_and_named_again_by_their_order(script, packages, tmp_path):
    for _ in range(2):
        script.main(packages, tmp_path / "weights")
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(safetensors.torch.load_file(tmp_path / "weights" / "efficientnet-lite0.safetensors"))
    torch.manual_seed(1)
    expected = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    text = tmp_path / "weights" / "all-minilm-l6-v2"
    assert sorted(path.name for path in text.iterdir()) == sorted(script.TEXT_FILES)
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == [
        "all-minilm-l6-v2",
        "efficientnet-lite0.safetensors",
    ]


def test_weights_of_another_model_are_refused(script):
    tensors = dict(timm.create_model("tf_efficientnet_lite0").state_dict())
    tensors["classifier.weight"] = torch.zeros(10, 1280)
    with pytest.raises(SystemExit, match=r"of another model: classifier.weight has shape \[10, 1280\]"):
        script.in_timms_names(tensors)
