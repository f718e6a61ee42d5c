import json
import math

import open_clip
import pytest
import safetensors.torch
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.models.building import build_model
from nbclip_trainer.optimisation.optimizer import hold_logit_scale
from nbclip_trainer.training.session import build_session
from nbclip_trainer.training.step import train_step

NAMED = ("model.architecture=null",)


def build(config, **options):
    return build_model(config.model, seed=config.seed, **options)


def test_nbclip_tiny_is_the_model_it_says():
    parts = build(load_config("nbclip-tiny"))
    assert sum(parameter.numel() for parameter in parts.model.parameters()) == 8_102_681
    assert parts.tokenizer(["a chest x-ray", "x " * 99]).shape == (2, 24)
    assert parts.model.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    assert parts.model.logit_bias is None
    out = parts.model(torch.zeros(1, 3, 64, 64), parts.tokenizer(["a"]))
    assert out["image_features"].shape == out["text_features"].shape == (1, 128)
    assert out["image_features"].norm().item() == pytest.approx(1)


def test_weights_follow_from_the_seed_and_leave_torchs_random_state_alone(small):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (build(load_config("tiny-clip", small(f"seed={seed}"))).model for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [model.visual.conv1.weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_bias_is_added_where_it_is_asked_for(small):
    assert build(load_config("tiny-nbclip", small()), with_bias=True).model.logit_bias.item() == 0


@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pt"])
def test_weights_come_from_a_file_and_the_logit_scale_restarts_or_stays(small, tmp_path, file):
    source = build(load_config("tiny-clip", small("seed=9", "model.logit_scale=50"))).model
    path = tmp_path / file
    if path.suffix == ".pt":
        torch.save(source.state_dict(), path)
    else:
        safetensors.torch.save_file(source.state_dict(), path)
    overrides = small(f"model.pretrained={path}")
    restarted = build(load_config("tiny-clip", overrides)).model
    assert torch.equal(restarted.visual.conv1.weight, source.visual.conv1.weight)
    assert restarted.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    kept = build(load_config("tiny-clip", [*overrides, "model.logit_scale=null"])).model
    assert kept.logit_scale.item() == pytest.approx(math.log(50))
    random = build(load_config("tiny-clip", overrides), load_weights=False).model
    assert not torch.equal(random.visual.conv1.weight, source.visual.conv1.weight)


def test_weights_of_another_model_are_refused_in_one_line(small, tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    for bad in (path, tmp_path / "none.pt"):
        with pytest.raises(InvalidInput, match=r"model\.pretrained") as refused:
            build(load_config("tiny-clip", small(f"model.pretrained={bad}")))
        assert "\n" not in refused.value.message


def test_a_named_model_is_open_clips_with_its_own_transform():
    config = load_config("nbclip-tiny", [*NAMED, "model.name=RN50", "model.resize=shortest"])
    parts = build(config)
    assert isinstance(parts.model, open_clip.CLIP)
    assert parts.preprocess.size == 224
    assert parts.preprocess.resize_mode == "shortest"
    assert parts.tokenizer(["a"]).shape == (1, 77)


@pytest.mark.parametrize(
    ("overrides", "message", "hint"),
    [
        (["model.name=ViT-B-61"], "no such model", "ViT-B-16"),
        (["model.name=ViT-B-16", "model.pretrained=opnai"], "neither a file nor a run, nor a tag", "openai"),
        (["model.name=ViT-B-16", "model.pretrained=openai"], "another activation", "ViT-B-16-quickgelu"),
        (["model.name=ViT-B-16-quickgelu", "model.pretrained=laion400m_e32"], "neither a file nor a run, nor a tag", "openai"),
        (["model.name=local-dir:/nowhere"], "model.name=local-dir:/nowhere: no open_clip_config.json is there", ""),
    ],
)
def test_what_open_clip_lacks_or_only_warns_of_is_refused_before_any_download(overrides, message, hint):
    with pytest.raises(InvalidInput, match=message) as refused:
        build(load_config("nbclip-tiny", [*NAMED, *overrides]))
    assert hint in refused.value.hint


@pytest.mark.parametrize("name", ["RN50", "local-dir:/nowhere", "hf-hub:org/none"])
def test_a_named_model_beside_another_ones_architecture_is_refused(name):
    with pytest.raises(InvalidInput, match=f"model.name='{name}' names a model") as refused:
        build(load_config("nbclip-tiny", [f"model.name={name!r}"]))
    assert "model.architecture=null" in refused.value.hint


def test_the_defaults_name_a_model_that_open_clip_has():
    assert TrainConfig().model.name in open_clip.list_models()


def test_a_run_is_read_without_the_weights_it_started_from():
    config = load_config("paper", ["model.name=ViT-S-32-alt", "model.pretrained=/gone/weights.pt"])
    with pytest.raises(InvalidInput, match=r"/gone/weights\.pt"):
        build(config)
    assert build(config, load_weights=False).preprocess.size in (224, (224, 224))


SIGLIP = {
    "embed_dim": 32,
    "init_logit_bias": -10,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def siglip(tmp_path):
    """A model of SigLIP's kind in a folder, as open_clip loads it, with the scale and the bias of ViT-B-16-SigLIP's weights."""
    model = open_clip.CLIP(**SIGLIP)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(117.33))
        model.logit_bias.fill_(-12.93)
    config = {"model_cfg": SIGLIP, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    return tmp_path


@pytest.mark.parametrize("with_bias", [False, True])
def test_siglips_own_bias_and_scale_are_kept(siglip, with_bias):
    config = load_config("nbclip-tiny", [*NAMED, f"model.name='local-dir:{siglip}'"])
    model = build(config, with_bias=with_bias).model
    for _ in range(2):
        assert model.logit_bias.item() == pytest.approx(-12.93)
        assert model.logit_scale.exp().item() == pytest.approx(117.33)
        hold_logit_scale(model)


def test_another_scale_for_a_model_with_a_bias_of_its_own_is_refused(siglip):
    with pytest.raises(InvalidInput, match=r"model\.logit_scale=20: the model has a logit bias"):
        build(load_config("nbclip-tiny", [*NAMED, f"model.name='local-dir:{siglip}'", "model.logit_scale=20"]))


def test_a_step_keeps_the_bias_that_came_with_the_weights(siglip, small):
    """The first batch would give another one; what a step of a tiny learning rate moves is no matter."""
    overrides = [
        *NAMED,
        f"model.name='local-dir:{siglip}'",
        "loss.name=sigmoid_soft",
        "targets={knowledge: noise, noise: per_image}",
    ]
    session = build_session(load_config("tiny-nbclip", small(*overrides, "optim.lr=1e-9")))
    batch = session.plan.batch(0)
    train_step(session, batch, next(session.train.images.training([batch])).pixels, session.answer(batch))
    assert session.parts.model.logit_bias.item() == pytest.approx(-12.93, abs=1e-3)
    assert session.parts.model.logit_scale.exp().item() == pytest.approx(117.33, abs=1e-2)
