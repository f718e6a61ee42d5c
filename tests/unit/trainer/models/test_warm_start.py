"""A run that starts from another run's weights, or reads longer captions than its weights were made for."""

import math

import pytest
import safetensors.torch
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.models.building import build_model, tokenizer_of
from nbclip_trainer.runs.checkpoint import load_checkpoint, part
from nbclip_trainer.training.loop import train

SIGMOID = ("loss.name=sigmoid_soft", "targets={knowledge: noise, noise: per_image}")


def build(config):
    return build_model(config.model, seed=config.seed, with_bias=config.loss.has_bias).model


@pytest.fixture
def run(small, tmp_path):
    train(load_config("tiny-clip", small("checkpoint.keep=9")), tmp_path / "first")
    return tmp_path / "first"


def same_but_scale(model, weights):
    own = model.state_dict()
    return {name for name, tensor in own.items() if not torch.equal(tensor, weights[name])} <= {"logit_scale"}


def test_a_run_starts_from_the_newest_checkpoint_of_another_or_from_the_one_that_is_named(small, run, tmp_path):
    files = sorted((run / "checkpoints").glob("*.safetensors"))
    weights = {path: part(safetensors.torch.load_file(path), "model") for path in files}
    assert len(files) == 2
    config = load_config("tiny-clip", small(f"model.pretrained={run}", "seed=7"))
    assert same_but_scale(build(config), weights[files[1]])
    assert build(config).logit_scale.exp().item() == pytest.approx(1 / 0.07)
    assert same_but_scale(build(load_config("tiny-clip", small(f"model.pretrained={files[0]}"))), weights[files[0]])
    kept = build(load_config("tiny-clip", small(f"model.pretrained={run}", "model.logit_scale=null")))
    assert torch.equal(kept.logit_scale, weights[files[1]]["logit_scale"])
    assert train(config, tmp_path / "second").finished


def test_a_bias_begins_blank_where_the_run_before_had_none_and_stays_where_it_had(small, run, tmp_path):
    assert build(load_config("tiny-nbclip", small(*SIGMOID, f"model.pretrained={run}"))).logit_bias.item() == 0
    train(load_config("tiny-nbclip", small(*SIGMOID)), tmp_path / "sigmoid")
    learned = part(load_checkpoint(tmp_path / "sigmoid").tensors, "model")
    again = build(load_config("tiny-nbclip", small(*SIGMOID, f"model.pretrained={tmp_path / 'sigmoid'}")))
    assert all(torch.equal(tensor, learned[name]) for name, tensor in again.state_dict().items())
    with pytest.raises(InvalidInput, match="does not fit CLIP: logit_bias unknown"):
        build(load_config("tiny-clip", small(f"model.pretrained={tmp_path / 'sigmoid'}")))
    with_bias = small(f"model.pretrained={tmp_path / 'sigmoid'}", "model.architecture.init_logit_bias=0")
    assert torch.equal(build(load_config("tiny-clip", with_bias)).logit_bias, learned["logit_bias"])


def test_a_run_of_other_shapes_is_refused_by_the_first_that_do_not_fit(small, run):
    with pytest.raises(
        InvalidInput, match=r"does not fit CLIP: text_projection \[16, 16\] for \[16, 24\], .* for \[24, 256\]"
    ) as refused:
        build(load_config("tiny-clip", small(f"model.pretrained={run}", "model.architecture.embed_dim=24")))
    assert refused.value.message.startswith(f"model.pretrained={run}: ")
    assert "\n" not in refused.value.message


def test_a_run_reads_longer_captions_than_the_one_that_it_starts_from(small, run):
    config = load_config("tiny-clip", small(f"model.pretrained={run}", "model.context_length=32"))
    found, before = build(config).state_dict(), part(load_checkpoint(run).tensors, "model")
    theirs = before["positional_embedding"].T[None]
    assert theirs.shape[2] < 32
    wanted = torch.nn.functional.interpolate(theirs, size=32, mode="linear", align_corners=False)[0].T
    assert torch.allclose(found["positional_embedding"], wanted)
    same = found.keys() - {"positional_embedding", "attn_mask", "logit_scale"}
    assert all(torch.equal(found[name], before[name]) for name in same)


def test_a_folder_that_is_no_run_is_refused(small, tmp_path):
    with pytest.raises(InvalidInput, match="no checkpoint of a run is there"):
        build(load_config("tiny-clip", small(f"model.pretrained={tmp_path}")))


def test_weights_with_a_bias_need_a_model_that_has_one(small, tmp_path):
    source = build(load_config("tiny-nbclip", small(*SIGMOID)))
    with torch.no_grad():
        source.logit_bias.fill_(-3)
        source.logit_scale.fill_(math.log(120))
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(source.state_dict(), path)
    with pytest.raises(InvalidInput, match="weights with a logit bias, for a model without") as refused:
        build(load_config("tiny-clip", small(f"model.pretrained={path}")))
    assert "model.architecture.init_logit_bias=0" in refused.value.hint
    kept = build(load_config("tiny-clip", small(f"model.pretrained={path}", "model.architecture.init_logit_bias=0")))
    assert (kept.logit_bias.item(), kept.logit_scale.exp().item()) == (-3, pytest.approx(120))


def test_positions_of_longer_captions_lie_between_those_of_the_weights(small, tmp_path):
    """Twice as many positions, linearly between: by the formula of half-pixel centres."""
    source = build(load_config("tiny-clip", small("model.architecture.text_cfg.context_length=8")))
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(source.state_dict(), path)
    config = load_config("tiny-clip", small(f"model.pretrained={path}", "model.context_length=16"))
    before, after = source.positional_embedding, build(config).positional_embedding
    places = ((torch.arange(16) + 0.5) / 2 - 0.5).clamp(0, 7)
    low = places.floor().long()
    share = (places - low)[:, None]
    expected = before[low] * (1 - share) + before[(low + 1).clamp(max=7)] * share
    torch.testing.assert_close(after, expected)
    assert tokenizer_of(config.model)(["a"]).shape == (1, 16)


def test_a_named_model_reads_captions_of_another_length():
    config = load_config("paper", ["model={name: ViT-S-32-alt, pretrained: null, context_length: 40}"])
    assert tokenizer_of(config.model)(["a"]).shape == (1, 40)
    assert build(config).positional_embedding.shape[0] == 40
