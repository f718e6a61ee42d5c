import json

import open_clip
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.models.locking import lock, set_to_train, trained_share, unchanging
from nbclip_trainer.models.settings import ModelSettings
from nbclip_trainer.parallel.normalisation import has_batch_norm
from nbclip_trainer.runs.checkpoint import load_checkpoint, part
from nbclip_trainer.training.loop import train
from nbclip_trainer.training.session import build_session
from torch import nn

TEXT = {"context_length": 8, "vocab_size": 99, "width": 16, "heads": 2, "layers": 3}
TOWERS = {
    "vision transformer": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16, "patch_dropout": 0.5},
    "modified resnet": {"image_size": 32, "layers": (1, 1, 1, 1), "width": 8, "head_width": 16},
    "timm": {"image_size": 32, "timm_model_name": "test_efficientnet", "timm_pool": "avg", "timm_proj": "linear"},
}


def locked(tower, **settings):
    model = open_clip.CLIP(12, TOWERS[tower], TEXT)
    chosen = ModelSettings.model_validate(settings)
    lock(model, chosen)
    set_to_train(model, chosen)
    return model


def trained(model, start):
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    return {name for name in names if name.startswith(start)}


def test_nothing_left_to_train_is_refused():
    tower = {"unlocked": 0, "projection": False}
    with pytest.raises(InvalidInput, match="nothing is left to train"):
        locked("timm", image=tower, text=tower)
    locked("timm", image=tower, text={"unlocked": 0})


PROJECTIONS = {"vision transformer": "visual.proj", "modified resnet": "visual.attnpool.c_proj", "timm": "visual.head"}


@pytest.mark.parametrize("tower", TOWERS)
def test_of_a_locked_tower_the_projection_alone_trains_unless_it_is_locked_too(tower):
    model = locked(tower, image={"unlocked": 0})
    assert trained(model, "visual") == trained(model, PROJECTIONS[tower]) != set()
    assert trained(model, "transformer")
    assert model.logit_scale.requires_grad
    assert not trained(locked(tower, image={"unlocked": 0, "projection": False}), "visual")
    alone = locked(tower, image={"projection": False})
    assert len(trained(alone, "visual")) == len(list(alone.visual.parameters())) - len(trained(model, PROJECTIONS[tower]))


@pytest.mark.parametrize(
    ("tower", "unlocked", "parts"),
    [
        ("vision transformer", 1, ("proj", "transformer.resblocks.1.", "ln_post.")),
        ("vision transformer", 2, ("proj", "transformer.", "ln_post.")),
        ("modified resnet", 2, ("attnpool.", "layer4.", "layer3.")),
    ],
)
def test_the_last_blocks_train_with_what_is_above_them(tower, unlocked, parts):
    model = locked(tower, image={"unlocked": unlocked})
    every = {f"visual.{name}" for name, _ in model.visual.named_parameters() if name.startswith(parts)}
    assert trained(model, "visual") == every
    text = locked(tower, text={"unlocked": 1})
    assert {name.partition(".resblocks.2")[0] for name in trained(text, ("transformer", "ln", "text", "token", "pos"))} == {
        "transformer", "ln_final.weight", "ln_final.bias", "text_projection",
    }  # fmt: skip


@pytest.mark.parametrize("tower", ["modified resnet", "timm"])
@pytest.mark.parametrize("unlocked", [0, 1])
def test_batch_normalisation_keeps_its_statistics_where_it_is_locked(tower, unlocked):
    model = locked(tower, image={"unlocked": unlocked})
    norms = {path: module for path, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    before = {path: norm.running_mean.clone() for path, norm in norms.items()}
    model.encode_image(torch.rand(4, 3, 32, 32))
    moved = {path for path, norm in norms.items() if not torch.equal(norm.running_mean, before[path])}
    assert moved == {path for path, norm in norms.items() if norm.weight.requires_grad}
    assert bool(moved) == bool(unlocked) == has_batch_norm(model)


def test_a_locked_tower_computes_as_in_evaluation_and_another_drops_patches():
    pixels = torch.rand(4, 3, 32, 32)
    model = locked("vision transformer", image={"unlocked": 0}, text={"unlocked": 0})
    training = model.encode_image(pixels)
    assert torch.equal(training, model.eval().encode_image(pixels))
    free = locked("vision transformer")
    assert not torch.equal(free.encode_image(pixels), free.eval().encode_image(pixels))


def test_more_blocks_than_there_are_is_refused_in_a_line():
    with pytest.raises(InvalidInput, match=r"model\.text\.unlocked=4: the tower has 3 blocks"):
        locked("timm", text={"unlocked": 4})
    assert trained(locked("timm", text={"unlocked": 3}), "token_embedding") == set()


def test_how_much_trains_is_counted():
    model = locked("vision transformer", image={"unlocked": 0}, text={"unlocked": 0})
    every = sum(parameter.numel() for parameter in model.parameters())
    assert trained_share(model) == {"trained": 32 * 12 + 16 * 12 + 1, "all": every}


@pytest.mark.parametrize(("image", "text"), [(0, 0), (2, None), (None, 0), (None, None)])
def test_what_is_unchanging_is_what_training_leaves_as_it_was(small, tmp_path, image, text):
    """By a run: what has the same values after it."""
    settings = small(f"model.image.unlocked={json.dumps(image)}", f"model.text.unlocked={json.dumps(text)}", "optim.lr=1e-2")
    config = load_config("tiny-clip", settings)
    session = build_session(config)
    before = {name: tensor.clone() for name, tensor in session.parts.model.state_dict().items()}
    locked = unchanging(session.parts.model, config.model)
    train(config, tmp_path / "run")
    after = part(load_checkpoint(tmp_path / "run").tensors, "model")
    same = {name for name, tensor in before.items() if torch.equal(tensor, after[name])}
    moved = before.keys() - same
    assert not locked & moved
    assert not {name for name in same - locked if not name.endswith(("attn_mask", "bias"))}
    assert ((tmp_path / "run" / "checkpoints" / "locked.safetensors").exists()) == bool(locked)
