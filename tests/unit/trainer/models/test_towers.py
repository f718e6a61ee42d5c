"""Towers of Hugging Face and timm, against those libraries' own forward pass; and what does not fit together."""

import json

import huggingface_hub.constants
import open_clip
import pytest
import safetensors.torch
import timm
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.models import towers
from nbclip_trainer.models.building import build_model, tokenizer_of
from nbclip_trainer.models.captions import tokenized
from support.towers import POSITIONS, VOCABULARY, WIDTH, own_bert, own_tokens, write_bert
from torch.nn.functional import gelu, linear

TEXTS = ["picture 3 of the head", "CTs", "the the the the", "picture of an unknown spine " + "9" * 30]


@pytest.fixture
def bert(tmp_path):
    return write_bert(tmp_path / "bert")


@pytest.fixture
def overrides(small):
    """`small`, with a text tower of Hugging Face's."""

    def made(folder, *more, **text):
        given = json.dumps({"context_length": 16, "hf_model_name": str(folder), **text})
        return small(f"model.architecture.text_cfg={given}", *more)

    return made


def build(config, **options):
    return build_model(config.model, seed=config.seed, **options)


def parts_of(overrides, **options):
    parts = build(load_config("tiny-clip", overrides), **options)
    parts.model.eval()
    return parts


def mean(states_BLE, tokens):
    mask_BL1 = tokens["attention_mask"][:, :, None].float()
    return (states_BLE * mask_BL1).sum(1) / mask_BL1.sum(1)


POOLINGS = {
    "mean_pooler": lambda bert, out, tokens: mean(out.last_hidden_state, tokens),
    "cls_last_hidden_state_pooler": lambda bert, out, tokens: out.last_hidden_state[:, 0],
    "cls_pooler": lambda bert, out, tokens: torch.tanh(bert.pooler.dense(out.last_hidden_state[:, 0])),
}
PROJECTIONS = {
    "linear": lambda feature, proj: linear(feature, proj.weight),
    "mlp": lambda feature, proj: linear(gelu(linear(feature, proj[0].weight)), proj[2].weight),
}


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("pooling", POOLINGS)
@torch.no_grad()
def test_text_features_are_transformers_own_pooled_and_projected(bert, overrides, pooling, projection):
    parts = parts_of(overrides(bert, hf_pooler_type=pooling, hf_proj_type=projection))
    tokens, oracle = own_tokens(bert, TEXTS, 16), own_bert(bert)
    assert torch.equal(parts.tokenizer(TEXTS), tokens["input_ids"])
    out = oracle(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    expected = PROJECTIONS[projection](POOLINGS[pooling](oracle, out, tokens), parts.model.text.proj)
    torch.testing.assert_close(parts.model.encode_text(parts.tokenizer(TEXTS)), expected, atol=1e-6, rtol=1e-5)


def weights_of_old(folder):
    """As BioClinicalBERT's were written: a head's prefix, TensorFlow's names of norms, a buffer that is none any more."""
    old = {"bert.embeddings.position_ids": torch.arange(POSITIONS)[None]}
    for name, tensor in torch.load(folder / "pytorch_model.bin").items():
        old[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    torch.save(old, folder / "pytorch_model.bin")


@pytest.mark.parametrize("old", [False, True], ids=["PubMedBERT", "BioClinicalBERT"])
@torch.no_grad()
def test_weights_with_a_head_and_no_more_than_a_vocabulary_beside_them_are_read(tmp_path, overrides, old):
    folder = write_bert(tmp_path / "bert", heads=True)
    expected = {
        name.removeprefix("bert."): tensor
        for name, tensor in torch.load(folder / "pytorch_model.bin").items()
        if name.startswith("bert.")
    }
    if old:
        weights_of_old(folder)
    parts = parts_of(overrides(folder))
    found = parts.model.text.transformer.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_a_cased_vocabulary_is_read_cased_where_its_options_say_so(bert, overrides):
    cased = overrides(bert, tokenizer_kwargs={"do_lower_case": False})
    upper, lower = VOCABULARY.index("CT"), VOCABULARY.index("ct")
    assert tokenizer_of(load_config("tiny-clip", cased).model)(["CT"])[0, 1] == upper
    assert tokenizer_of(load_config("tiny-clip", overrides(bert)).model)(["CT"])[0, 1] == lower


def test_captions_that_are_cut_are_counted(bert, overrides):
    tokenizer = tokenizer_of(load_config("tiny-clip", overrides(bert)).model)
    assert str(tokenized(tokenizer, ["head " * 14, "head"])[1]) == ""
    _, cut = tokenized(tokenizer, ["head " * 15, "head " * 40, "head"])
    assert (cut.captions, cut.longest, cut.context) == (2, 42, 16)


def test_weights_of_the_text_tower_come_from_another_place_or_not_at_all(bert, tmp_path, overrides):
    other = write_bert(tmp_path / "other", seed=2)
    expected = own_bert(other).state_dict()
    for source in (other, other / "model.safetensors"):
        found = parts_of(overrides(bert, f"model.text_weights={source}")).model.text.transformer.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    random = parts_of(overrides(bert, hf_model_pretrained=False)).model.text.transformer.state_dict()
    own = own_bert(bert).state_dict()
    assert not torch.equal(random["embeddings.word_embeddings.weight"], own["embeddings.word_embeddings.weight"])


def test_weights_of_another_text_tower_are_refused_by_the_first_that_do_not_fit(bert, tmp_path, overrides):
    cases = {
        "encoder.layer.2": own_bert(write_bert(tmp_path / "larger", num_hidden_layers=3)).state_dict(),
        "encoder.layer.1": {name: tensor for name, tensor in own_bert(bert).state_dict().items() if "layer.1" not in name},
        "[7, 16] for [24, 16]": own_bert(bert).state_dict() | {"embeddings.position_embeddings.weight": torch.zeros(7, WIDTH)},
    }
    for said, tensors in cases.items():
        path = tmp_path / "wrong.safetensors"
        safetensors.torch.save_file(tensors, path)
        with pytest.raises(InvalidInput, match="does not fit BertModel") as refused:
            parts_of(overrides(bert, f"model.text_weights={path}"))
        assert refused.value.message.startswith(f"model.text_weights={path}: ")
        assert said in refused.value.message
        assert "\n" not in refused.value.message


def timm_overrides(small, name="test_efficientnet", *more, **vision):
    given = json.dumps({"image_size": 64, "timm_model_name": name, **vision})
    return small(f"model.architecture.vision_cfg={given}", *more)


@torch.no_grad()
def test_image_features_are_timms_own_projected_and_its_colours_are_known(small, tmp_path):
    torch.manual_seed(3)
    oracle = timm.create_model("test_efficientnet").eval()
    safetensors.torch.save_file(oracle.state_dict(), tmp_path / "timm.safetensors")
    parts = parts_of(timm_overrides(small, "test_efficientnet", f"model.image_weights={tmp_path / 'timm.safetensors'}"))
    images = torch.rand(2, 3, 64, 64)
    pooled = oracle.forward_features(images).mean((2, 3))
    torch.testing.assert_close(parts.model.visual.trunk(images), pooled)
    torch.testing.assert_close(parts.model.encode_image(images), linear(pooled, parts.model.visual.head.proj.weight))
    assert tuple(parts.preprocess.mean) == tuple(oracle.pretrained_cfg["mean"]) != open_clip.OPENAI_DATASET_MEAN
    given = parts_of(timm_overrides(small, "test_efficientnet", "model.mean=[0.1, 0.2, 0.3]", "model.std=[1, 1, 1]"))
    assert (list(given.preprocess.mean), list(given.preprocess.std)) == ([0.1, 0.2, 0.3], [1, 1, 1])


def test_weights_of_an_image_tower_are_those_of_the_whole_tower_too(small, tmp_path):
    torch.manual_seed(3)
    source = parts_of(timm_overrides(small)).model
    with torch.no_grad():
        source.visual.head.proj.weight.fill_(0.5)
    for name, tensors in {"tower": source.visual.state_dict(), "model": source.state_dict()}.items():
        path = tmp_path / f"{name}.safetensors"
        safetensors.torch.save_file(tensors, path)
        found = parts_of([*timm_overrides(small), "seed=7", f"model.image_weights={path}"]).model
        assert all(torch.equal(tensor, found.visual.state_dict()[key]) for key, tensor in source.visual.state_dict().items())
        assert not torch.equal(found.token_embedding.weight, source.token_embedding.weight)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda tensors: tensors.pop("conv_stem.weight"), "conv_stem.weight missing"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "extra unknown"),
        (lambda tensors: tensors.update({"conv_stem.weight": torch.zeros(2, 3)}), "conv_stem.weight [2, 3] for [24, 3, 3, 3]"),
    ],
)
def test_weights_of_another_image_tower_are_refused(small, tmp_path, changed, said):
    tensors = timm.create_model("test_efficientnet").state_dict()
    changed(tensors)
    path = tmp_path / "wrong.safetensors"
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(InvalidInput) as refused:
        parts_of(timm_overrides(small, "test_efficientnet", f"model.image_weights={path}"))
    assert refused.value.message == f"model.image_weights={path}: does not fit EfficientNet: {said}"


def test_what_is_no_weights_file_is_refused(small, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    for key in ("image_weights", "pretrained"):
        for name, said in {"bad.safetensors": "not a weights file", "bad.pt": "not a weights file"}.items():
            with pytest.raises(InvalidInput, match=said):
                parts_of(timm_overrides(small, "test_efficientnet", f"model.{key}={tmp_path / name}"))
    with pytest.raises(InvalidInput, match="no such file") as refused:
        parts_of(timm_overrides(small, "test_efficientnet", f"model.image_weights={tmp_path / 'none.pt'}"))
    assert "make weights" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "vision", "said"),
    [
        ({"context_length": POSITIONS + 1}, {}, "context_length=25: the text tower .* reads at most 24 tokens"),
        ({"hf_model_name": "./none"}, {}, r"\./none: no such folder"),
        ({}, {"timm_model_name": "test_vit", "image_size": 64}, "image_size=64: timm's test_vit is made for 160 pixels"),
        ({}, {"timm_model_name": "no_such_model"}, "no_such_model"),
    ],
)
def test_what_does_not_fit_together_is_refused(bert, overrides, text, vision, said):
    with pytest.raises(InvalidInput, match=said) as refused:
        parts_of(overrides(bert, f"model.architecture.vision_cfg={json.dumps({'image_size': 64, **vision})}", **text))
    assert "\n" not in refused.value.message


def test_a_tokenizer_of_another_tower_is_refused(bert, tmp_path, overrides):
    other = write_bert(tmp_path / "other", pad_token_id=0)
    (other / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"]))
    with pytest.raises(InvalidInput, match=f"a tokenizer of {len(VOCABULARY) + 1} tokens, for a text tower of {len(VOCABULARY)}"):
        parts_of(overrides(bert, hf_tokenizer_name=str(other)))
    (other / "vocab.txt").unlink()
    with pytest.raises(InvalidInput):
        parts_of(overrides(bert, hf_tokenizer_name=str(other)))
    padded = write_bert(tmp_path / "padded", pad_token_id=3)
    with pytest.raises(InvalidInput, match="its padding is token 0, the text tower's is 3"):
        parts_of(overrides(padded))


def test_without_transformers_one_line_has_the_command_that_installs_it(bert, overrides, monkeypatch):
    monkeypatch.setattr(towers, "find_spec", lambda name: None)
    for call in (lambda config: build(config), lambda config: tokenizer_of(config.model)):
        with pytest.raises(InvalidInput, match="transformers is not installed") as refused:
            call(load_config("tiny-clip", overrides(bert)))
        assert refused.value.hint == "uv pip install 'nbclip-trainer[transformers]'"


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ({"name": "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"}, "model.name=local-dir:FOLDER"),
        ({"name": "ViT-B-16-SigLIP"}, "model.pretrained"),
    ],
)
def test_without_a_network_one_line_says_how_to_use_a_copy(monkeypatch, model, hint):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InvalidInput, match=model["name"].removeprefix("hf-hub:")) as refused:
        build(load_config("paper", [f"model={json.dumps(model)}", "model.pretrained=null"]))
    assert hint in refused.value.hint
    assert "\n" not in refused.value.message
