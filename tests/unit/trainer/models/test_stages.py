"""The depth of every parameter, by hand, for each kind of tower."""

import re

import open_clip
import pytest
import timm
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.models.stages import tower_named, tower_of, towers_of
from timm.optim import param_groups_layer_decay

TEXT = {"context_length": 8, "vocab_size": 99, "width": 16, "heads": 2, "layers": 3}
VISION_TRANSFORMER = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
MODIFIED_RESNET = {"image_size": 32, "layers": (1, 2, 1, 1), "width": 8, "head_width": 16}


def timm_tower(name, pool="avg"):
    return {"image_size": 32, "timm_model_name": name, "timm_pool": pool, "timm_proj": "linear"}


def clip(vision, text=TEXT):
    return open_clip.CLIP(12, vision, text)


def depths(tower):
    """Names by depth, and that each parameter of the tower is there once."""
    names = [name for stage in (*tower.stages, tower.projection) for name in stage]
    assert len(names) == len(set(names))
    found = {}
    for name, depth in tower.depths().items():
        found.setdefault(depth, set()).add(name)
    return found


def starts(names):
    """The beginnings of names that tell the parts of a tower."""
    return {re.match(r"(.*?\.\d+(\.\d+)?|(visual\.)?\w+)", name).group(0) for name in names}


@pytest.mark.parametrize("vision", [VISION_TRANSFORMER, MODIFIED_RESNET, timm_tower("test_resnet")])
def test_every_parameter_is_in_one_tower_once(vision):
    model = clip(vision)
    found = {name for tower in towers_of(model) for stage in (*tower.stages, tower.projection) for name in stage}
    assert found == {name for name, _ in model.named_parameters()} - {"logit_scale"}
    assert {tower_of(name) for name in found} == {"image", "text"}


def test_a_vision_transformer():
    found = depths(tower_named(clip(VISION_TRANSFORMER), "image"))
    assert {depth: starts(names) for depth, names in found.items()} == {
        0: {"visual.proj"},
        1: {"visual.transformer.resblocks.1", "visual.ln_post"},
        2: {"visual.transformer.resblocks.0"},
        3: {"visual.conv1", "visual.class_embedding", "visual.positional_embedding", "visual.ln_pre"},
    }


def test_a_modified_resnet():
    found = depths(tower_named(clip(MODIFIED_RESNET), "image"))
    assert found[0] == {"visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias"}
    assert {name for name in found[1] if "attnpool" in name} == {
        "visual.attnpool.positional_embedding",
        *(f"visual.attnpool.{part}_proj.{kind}" for part in "qkv" for kind in ("weight", "bias")),
    }
    blocks = {depth: {name.rpartition(".layer")[2][:3] for name in names if ".layer" in name} for depth, names in found.items()}
    assert blocks == {0: set(), 1: {"4.0"}, 2: {"3.0"}, 3: {"2.1"}, 4: {"2.0"}, 5: {"1.0"}, 6: set()}
    assert found[6] == {f"visual.{part}{number}.weight" for part in ("conv", "bn") for number in (1, 2, 3)} | {
        f"visual.bn{number}.bias" for number in (1, 2, 3)
    }


def test_the_text_tower_of_open_clip_in_both_kinds_of_models():
    plain = depths(tower_named(clip(VISION_TRANSFORMER), "text"))
    assert {depth: starts(names) for depth, names in plain.items()} == {
        0: {"text_projection"},
        1: {"transformer.resblocks.2", "ln_final"},
        2: {"transformer.resblocks.1"},
        3: {"transformer.resblocks.0"},
        4: {"token_embedding", "positional_embedding"},
    }
    custom = depths(tower_named(open_clip.CustomTextCLIP(12, VISION_TRANSFORMER, TEXT), "text"))
    assert custom == {depth: {f"text.{name}" for name in names} for depth, names in plain.items()}


def test_a_bert():
    transformers = pytest.importorskip("transformers", reason="an extra")
    from open_clip.hf_model import HFTextEncoder

    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 99}
    model = clip(VISION_TRANSFORMER)
    model.text = HFTextEncoder("bert", 12, transformers.BertConfig(**size), "cls_pooler", "mlp")
    tower = tower_named(torch.nn.ModuleDict({"text": model.text}), "text")
    found = depths(tower)
    assert {depth: starts(name.removeprefix("text.transformer.") for name in names) for depth, names in found.items()} == {
        0: {"text.proj.0", "text.proj.2"},
        1: {"encoder.layer.1", "pooler"},
        2: {"encoder.layer.0"},
        3: {"embeddings"},
    }


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext"])
def test_the_towers_of_timm_have_timms_own_scales(name):
    """Beside timm's `param_groups_layer_decay`, in which the last block, of a trunk without a head, is not scaled."""
    model = clip(timm_tower(name, "token" if name == "test_vit" else "avg"))
    trunk = timm.create_model(name, num_classes=0)
    names = {id(parameter): f"visual.trunk.{name}" for name, parameter in trunk.named_parameters()}
    expected = {
        names[id(parameter)]: 0.5 * group["lr_scale"]
        for group in param_groups_layer_decay(trunk, layer_decay=0.5)
        for parameter in group["params"]
    }
    found = {name: 0.5**depth for name, depth in tower_named(model, "image").depths().items()}
    assert found == pytest.approx({**expected, "visual.head.proj.weight": 1.0})
    assert len(set(expected.values())) > 2


def test_a_tower_of_another_kind_is_refused_in_a_line():
    with pytest.raises(InvalidInput, match=r"model\.image: the blocks of a Linear are not known") as refused:
        tower_named(torch.nn.ModuleDict({"visual": torch.nn.Linear(1, 1)}), "image")
    assert "\n" not in refused.value.message
