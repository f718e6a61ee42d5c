"""Dropout before the projections, and projections that start at principal components."""

import numpy as np
import open_clip
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.models.heads import Dropping, Heads, start_at_components
from nbclip_trainer.models.settings import ModelSettings

VISION = {"image_size": 32, "timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear"}
TEXT = {"context_length": 8, "vocab_size": 99, "width": 16, "heads": 2, "layers": 1}


def made(vision=VISION, text=TEXT, **more):
    torch.manual_seed(1)
    return open_clip.CLIP(12, vision, text, output_dict=True, **more).eval()


def settings(**shares):
    return ModelSettings.model_validate({name: {"dropout": share} for name, share in shares.items()})


def pairs():
    return torch.rand(5, 3, 32, 32), torch.randint(1, 99, (5, 8))


def test_dropout_is_in_training_alone():
    model, (pixels, tokens) = made(), pairs()
    dropping = Dropping(model, settings(image=0.5, text=0.5))
    whole = model(pixels, tokens)
    for name, value in dropping(pixels, tokens).items():
        torch.testing.assert_close(value, whole[name])
    model.training = True
    dropped = dropping(pixels, tokens)
    for name in ("image_features", "text_features"):
        assert (dropped[name] - whole[name]).abs().max() > 0.01


def test_what_is_dropped_is_a_share_of_what_the_tower_computes():
    """Each feature is there, times 1 / (1 - share), or is not: of an identity as projection, the features themselves show it."""
    model = made({**VISION, "image_size": 32})
    model.visual.head.proj = torch.nn.Identity()
    model.training = True
    features = torch.rand(400, 96) + 1
    out = Heads(model, settings(image=0.25))(features, torch.rand(400, 16))["image_features"]
    kept = out != 0
    assert kept.float().mean() == pytest.approx(0.75, abs=0.01)
    torch.testing.assert_close(out, torch.nn.functional.normalize(features * kept, dim=1))


def test_nothing_is_dropped_of_the_other_tower():
    model = made()
    model.training = True
    heads, features = Heads(model, settings(text=0.9)), (torch.rand(5, 96), torch.rand(5, 16))
    first, second = heads(*features), heads(*features)
    assert torch.equal(first["image_features"], second["image_features"])
    assert not torch.equal(first["text_features"], second["text_features"])


def test_a_tower_without_a_projection_has_no_dropout_before_it():
    model = made(text={**TEXT, "proj_type": "none", "width": 12})
    with pytest.raises(InvalidInput, match=r"model\.text\.dropout=0\.1: the tower has no projection"):
        Heads(model, settings(text=0.1))


@pytest.mark.parametrize(("tower", "width"), [("image", 96), ("text", 16)])
def test_a_projection_starts_at_the_components_of_the_features(tower, width):
    """Against numpy's singular values of the features less their mean."""
    model, generator = made(), np.random.default_rng(0)
    features = (generator.normal(size=(300, width)) * np.linspace(3, 0.1, width) + 5).astype(np.float32)
    start_at_components(model, tower, torch.from_numpy(features).split(77))
    weight = model.visual.head.proj.weight if tower == "image" else model.text_projection.T
    wanted = np.linalg.svd(features - features.mean(axis=0))[2][:12]
    found = weight.detach().numpy()
    np.testing.assert_allclose(np.abs((found * wanted).sum(axis=1)), 1, atol=1e-3)
    assert (found.max(axis=1) == np.abs(found).max(axis=1)).all()


def test_what_has_no_components_is_refused():
    with pytest.raises(InvalidInput, match=r"model\.image\.start=pca: .* is not one matrix"):
        start_at_components(made({**VISION, "timm_proj": "mlp"}), "image", [torch.rand(9, 96)])
    with pytest.raises(InvalidInput, match="8 features have no 12 components"):
        start_at_components(made(text={**TEXT, "width": 8}), "text", [torch.rand(9, 8)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("model.text.start=pca", "model.text.start=pca takes what locked towers compute: set data.features=FOLDER"),
        ("model.image.dropout=1", "model.image.dropout"),
    ],
)
def test_settings_that_can_not_be_are_refused(changed, message):
    with pytest.raises(InvalidInput, match=message):
        load_config("tiny-clip", [changed])


def test_dropout_and_compilation_are_refused_together():
    with pytest.raises(InvalidInput, match=r"model.text.dropout=0.5 can't be compiled: set device.compile=false"):
        load_config("tiny-clip", ["model.text.dropout=0.5", "device.compile=true"])
