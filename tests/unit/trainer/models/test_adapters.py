"""LoRA by peft: what it adapts, that it is exact, and that a run which used it leaves a plain model."""

import sys

import open_clip
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.models.adapters import ADAPTER, adapt, merge
from nbclip_trainer.models.locking import lock, set_to_train
from nbclip_trainer.models.settings import ModelSettings
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.trained.export import export_run
from nbclip_trainer.trained.loading import load_run
from nbclip_trainer.training.loop import train
from nbclip_trainer.training.session import build_session
from pydantic import ValidationError
from support.ranks import run_ranks
from support.waiting import StopAfter
from torch import nn

TEXT = {"context_length": 8, "vocab_size": 99, "width": 16, "heads": 2, "layers": 1}
VISION_TRANSFORMER = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TIMM = {"image_size": 32, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"}
ADAPTED = ("model.image.lora={rank: 2, alpha: 8}", "model.text.lora={rank: 3, layers: [in_proj, c_fc]}")


def adapted(vision=VISION_TRANSFORMER, **settings):
    torch.manual_seed(0)
    model = open_clip.CLIP(12, vision, TEXT)
    chosen = ModelSettings.model_validate(settings)
    adapt(model, chosen)
    lock(model, chosen)
    set_to_train(model, chosen)
    return model


def layers(model):
    """The adapted layers, by path."""
    return {name.partition(ADAPTER)[0] for name, _ in model.named_parameters() if ADAPTER in name}


def filled(model):
    """Adapters begin at 0; here they do something."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ADAPTER in name:
                parameter.copy_(torch.randn(parameter.shape) / 4)
    return model


BLOCK = "visual.transformer.resblocks.0"


@pytest.mark.parametrize(
    ("vision", "lora", "expected"),
    [
        (VISION_TRANSFORMER, {}, {f"{BLOCK}.attn", f"{BLOCK}.mlp.c_fc", f"{BLOCK}.mlp.c_proj"}),
        (VISION_TRANSFORMER, {"layers": ["in_proj"]}, {f"{BLOCK}.attn"}),
        (VISION_TRANSFORMER, {"layers": ["c_fc"], "dropout": 0.1}, {f"{BLOCK}.mlp.c_fc"}),
        (TIMM, {"layers": ["qkv"], "dropout": 0.1}, {f"visual.trunk.blocks.{number}.attn.qkv" for number in range(6)}),
    ],
)
def test_the_layers_that_are_named_or_all_in_the_blocks_are_adapted(vision, lora, expected):
    model = adapted(vision, image={"lora": lora})
    assert layers(model) == expected
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad and name.startswith("visual")}
    assert trains == {name for name, _ in model.named_parameters() if ADAPTER in name} | {
        name for name in ("visual.proj", "visual.head.proj.weight") if name in dict(model.named_parameters())
    }
    assert all(parameter.requires_grad for name, parameter in model.named_parameters() if not name.startswith("visual"))


@pytest.mark.parametrize("vision", [VISION_TRANSFORMER, TIMM])
def test_every_adapter_takes_a_gradient_and_merged_the_model_is_plain_and_the_same(vision):
    model = filled(adapted(vision, image={"lora": {}}, text={"lora": {"rank": 2}}))
    plain = open_clip.CLIP(12, vision, TEXT)
    pixels, tokens = torch.rand(3, 3, 32, 32), torch.randint(1, 99, (3, 8))
    image, text = model.encode_image(pixels, normalize=True), model.encode_text(tokens, normalize=True)
    (image.sum() * 1.5 + text.square().sum() + (image @ text.T).trace()).backward()
    given = {name: parameter.grad for name, parameter in model.named_parameters() if ADAPTER in name}
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in given.values())
    merged = merge(model).eval()
    assert merged.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(merged.encode_image(pixels, normalize=True), image, atol=1e-5, rtol=0)
        torch.testing.assert_close(merged.encode_text(tokens, normalize=True), text, atol=1e-5, rtol=0)
    plain.load_state_dict(merged.state_dict())


def test_a_fresh_adapter_changes_nothing_and_a_locked_weight_never_changes():
    """A hundred passes: peft's own layer for torch's attention would round the weights a hundred times."""
    model = adapted(image={"lora": {}})
    torch.manual_seed(0)
    plain = open_clip.CLIP(12, VISION_TRANSFORMER, TEXT)
    pixels = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.encode_image(pixels), plain.encode_image(pixels))
    filled(model)
    attention = model.visual.transformer.resblocks[0].attn.get_base_layer()
    before = attention.in_proj_weight.clone()
    for _ in range(100):
        model.encode_image(pixels)
    assert torch.equal(attention.in_proj_weight, before)


def test_the_attention_pool_is_left_out_since_it_calls_no_layer():
    resnet = {"image_size": 32, "layers": (1, 1, 1, 1), "width": 8, "head_width": 16}
    with pytest.raises(InvalidInput, match="the tower's blocks have no linear layers"):
        adapted(resnet, image={"lora": {}})


def test_what_is_not_there_or_not_possible_is_one_line(monkeypatch):
    with pytest.raises(InvalidInput, match="no layer 'query'") as refused:
        adapted(image={"lora": {"layers": ["query"]}})
    assert refused.value.hint == "there are: c_fc, c_proj, in_proj"
    with pytest.raises(InvalidInput, match=r"model\.image\.lora\.dropout=0\.1: not possible in in_proj"):
        adapted(image={"lora": {"dropout": 0.1}})
    with pytest.raises(ValidationError, match="lora locks the tower's own weights"):
        ModelSettings.model_validate({"image": {"lora": {}, "unlocked": 1}})
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InvalidInput, match=r"model\.image\.lora needs peft") as refused:
        adapted(image={"lora": {}})
    assert "nbclip-trainer[lora]" in refused.value.hint


def test_dropout_is_drawn_in_training_alone():
    model = filled(adapted(image={"lora": {"layers": ["c_fc"], "dropout": 0.5}}))
    pixels = torch.rand(2, 3, 32, 32)
    assert not torch.equal(model.encode_image(pixels), model.encode_image(pixels))
    model.eval()
    assert torch.equal(model.encode_image(pixels), model.encode_image(pixels))


VISION = "model.architecture.vision_cfg={image_size: 32, layers: 2, width: 16, head_width: 8, patch_size: 16}"


def trained(world, config, folder):
    return train(config, folder, world=world).valid_loss


def test_a_run_with_adapters_is_resumed_bit_for_bit_and_two_ranks_train_the_same(small, tmp_path):
    config = load_config("tiny-clip", small(VISION, *ADAPTED, "optim.ema_decay=0.5"))
    alone = train(config, tmp_path / "straight").valid_loss
    train(config, tmp_path / "resumed", stop=StopAfter(2))
    train(config, tmp_path / "resumed", resume=True)
    first, second = (load_checkpoint(tmp_path / name).tensors for name in ("straight", "resumed"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    start = build_session(config).parts.model.state_dict()
    locked = [name for name, p in build_session(config).parts.model.named_parameters() if not p.requires_grad]
    assert all(torch.equal(first[f"model.{name}"], start[name]) for name in locked)
    assert len(locked) > 20
    ranks = run_ranks(trained, config, tmp_path / "two")
    assert ranks[0] == ranks[1] == pytest.approx(alone, rel=1e-4)


def test_an_export_is_open_clips_plain_model_with_the_features_of_the_adapted_one(small, tmp_path):
    config = load_config("tiny-clip", small(VISION, *ADAPTED, "optim.lr=1e-2"))
    train(config, tmp_path / "run")
    session = build_session(config)
    session.parts.model.load_state_dict(
        {
            name.removeprefix("model."): tensor
            for name, tensor in load_checkpoint(tmp_path / "run").tensors.items()
            if name.startswith("model.")
        }
    )
    model = session.parts.model.eval()
    folder = export_run(tmp_path / "run", tmp_path / "exported")
    exported = open_clip.create_model(f"local-dir:{folder}").eval()
    pixels, tokens = torch.rand(3, 3, 32, 32), session.parts.tokenizer(["a head", "a knee", "a chest"])
    with torch.no_grad():
        for found, expected in (
            (exported.encode_image(pixels, normalize=True), model.encode_image(pixels, normalize=True)),
            (exported.encode_text(tokens, normalize=True), model.encode_text(tokens, normalize=True)),
        ):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert not isinstance(exported.visual.transformer.resblocks[0].mlp.c_fc, type(model.visual.transformer.resblocks[0].mlp.c_fc))
    assert type(load_run(tmp_path / "run").model.visual.transformer.resblocks[0].mlp.c_fc) is nn.Linear
