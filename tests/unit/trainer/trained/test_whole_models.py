"""Models that bring towers, weights and tokenizer, of BiomedCLIP's kind and of SigLIP's, from the first step to the export."""

import json
import math
import shutil

import open_clip
import pytest
import safetensors.torch
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.models import recipe
from nbclip_trainer.models.building import build_model
from nbclip_trainer.models.projections import unprojected
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.runs.results import ScoringProtocol
from nbclip_trainer.trained.export import export_run
from nbclip_trainer.trained.loading import load_run
from nbclip_trainer.training.loop import train
from support.towers import VIT, write_bert, write_open_clip
from support.waiting import StopAfter

COLOURS = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
PROTOCOL = ScoringProtocol(class_ks=(1, 5), cui_ks=(1, 5), minimum_class_size=4, resamples=100)


def biomed_clip(folder):
    """timm's ViT, PubMedBERT's layout with a projection of two layers; its tokenizer and config lie in the same folder."""
    bert = write_bert(folder.parent / "bert")
    text = {"hf_model_name": str(bert), "hf_tokenizer_name": str(bert), "hf_proj_type": "mlp", "context_length": 20}
    text |= {"hf_pooler_type": "cls_last_hidden_state_pooler"}
    model = write_open_clip(folder, {"embed_dim": 12, "vision_cfg": VIT, "text_cfg": text}, preprocess=COLOURS)
    for name in ("config.json", "vocab.txt"):
        shutil.move(bert / name, folder / name)
    shutil.rmtree(bert)
    return model


def siglip(folder):
    """Pooling by attention without a projection, a text tower of open_clip's, a bias, and a scale over 100."""
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    text |= {"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
    vision = {**VIT, "timm_pool": "map", "timm_proj": "none"}
    config = {"embed_dim": 64, "init_logit_bias": -10, "custom_text": True, "vision_cfg": vision, "text_cfg": text}

    def learned(model):
        model.logit_scale.fill_(math.log(117.33))
        model.logit_bias.fill_(-12.93)

    return write_open_clip(folder, config, changed=learned, preprocess=COLOURS)


KINDS = {"BiomedCLIP": (biomed_clip, ["loss.name=infonce"]), "SigLIP": (siglip, ["loss.name=sigmoid_soft"])}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def made(kind, tmp_path, metadata):
    """Settings of a run that starts from the model's folder; the folder; the model."""
    write, loss = KINDS[kind]
    folder = tmp_path / "model"
    model = write(folder)
    overrides = [
        "model.architecture=null",
        f"model.name='local-dir:{folder}'",
        "targets={knowledge: noise, noise: per_image}",
        *loss,
        f"data.files=['{metadata}']",
        "batch_size=16",
        "epochs=2",
        "device={name: cpu, threads: 1}",
        "optim.lr=1e-4",
    ]
    if kind == "BiomedCLIP":
        overrides[2] = "targets.knowledge=identity"
    return overrides, folder, model


def same(first, second):
    first, second = (load_checkpoint(folder).tensors for folder in (first, second))
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@torch.no_grad()
def features(model, tokenizer):
    images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(5))
    return model.encode_image(images), model.encode_text(tokenizer(["picture of the head", "the chest"]))


def test_it_is_built_as_it_was_written(made):
    overrides, _, model = made
    config = load_config("tiny-nbclip", overrides)
    parts = build_model(config.model, seed=1, with_bias=config.loss.has_bias)
    expected = model.state_dict()
    assert parts.model.state_dict().keys() == expected.keys()
    changed = {name for name, tensor in parts.model.state_dict().items() if not torch.equal(tensor, expected[name])}
    # The scale restarts where no bias goes with it.
    assert changed <= {"logit_scale"}
    assert list(parts.preprocess.mean) == COLOURS["mean"]
    assert parts.tokenizer(["a"]).shape[1] == parts.recipe.context_length


def test_a_run_goes_on_is_evaluated_and_exported_without_what_it_started_from(made, kind, tmp_path, metadata):
    overrides, folder, _ = made
    config = load_config("tiny-nbclip", overrides)
    train(config, tmp_path / "straight")
    assert not train(config, tmp_path / "resumed", stop=StopAfter(2)).finished
    folder.rename(tmp_path / "away")
    assert train(config, tmp_path / "resumed", resume=True).finished
    assert same(tmp_path / "straight", tmp_path / "resumed")
    evaluate_run(tmp_path / "resumed", protocol=PROTOCOL)
    exported = export_run(tmp_path / "resumed", tmp_path / "exported")
    ours = load_run(tmp_path / "resumed")
    again = build_model(
        load_config("tiny-nbclip", [*overrides, f"model.name='local-dir:{exported}'"]).model, seed=9, with_bias=kind == "SigLIP"
    )
    again.model.eval()
    for mine, theirs in zip(features(ours.model, ours.tokenizer), features(again.model, again.tokenizer), strict=True):
        assert torch.equal(mine, theirs)
    if kind == "SigLIP":
        scale, bias = ours.model.logit_scale.exp().item(), ours.model.logit_bias.item()
        assert scale > 110
        assert (again.model.logit_scale.exp().item(), again.model.logit_bias.item()) == (scale, bias)
    texts = [path.read_text() for path in exported.iterdir() if path.suffix in {".md", ".yaml", ".json"}]
    assert all(str(tmp_path) not in text for text in texts)


def test_open_clip_opens_what_was_exported(made, kind, tmp_path, monkeypatch):
    overrides, _, _ = made
    train(load_config("tiny-nbclip", [*overrides, "epochs=1"]), tmp_path / "run")
    exported = export_run(tmp_path / "run", tmp_path / "exported")
    ours = load_run(tmp_path / "run")
    monkeypatch.chdir(exported)
    place = "." if 'local-dir:."' in (exported / "README.md").read_text() else exported
    assert (place == ".") == (kind == "BiomedCLIP")
    model = open_clip.create_model(f"local-dir:{place}").eval()
    for mine, theirs in zip(
        features(ours.model, ours.tokenizer), features(model, open_clip.get_tokenizer(f"local-dir:{place}")), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert (list(model.visual.image_mean), list(model.visual.image_std)) == (COLOURS["mean"], COLOURS["std"])


def test_the_hub_gives_what_a_folder_gives(made, monkeypatch):
    overrides, folder, model = made
    files = {"open_clip_config.json": "open_clip_config.json", None: "open_clip_model.safetensors"}
    monkeypatch.setattr(recipe, "download_pretrained_from_hf", lambda name, filename=None: str(folder / files[filename]))
    # Of the hub's files only these two are fetched by open_clip; a text tower is looked up by its own name.
    config = json.loads((folder / "open_clip_config.json").read_text())
    for key in {"hf_model_name", "hf_tokenizer_name"} & config["model_cfg"]["text_cfg"].keys():
        config["model_cfg"]["text_cfg"][key] = str(folder)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    settings = load_config("tiny-nbclip", [*overrides, "model.name=hf-hub:lab/model"]).model
    parts = build_model(settings, seed=1)
    parts.model.eval()
    for mine, theirs in zip(features(parts.model, parts.tokenizer), features(model, parts.tokenizer), strict=True):
        assert torch.equal(mine, theirs)


def test_a_tag_beside_a_name_that_brings_weights_is_refused(made):
    overrides, _, _ = made
    with pytest.raises(InvalidInput, match=r"model\.pretrained='openai': .* brings weights of its own"):
        build_model(load_config("tiny-nbclip", [*overrides, "model.pretrained=openai"]).model, seed=1)


def test_weights_that_do_not_fit_are_named_with_their_file(made):
    overrides, folder, model = made
    path = folder / "open_clip_model.safetensors"
    weights = {**model.state_dict(), "visual.trunk.pos_embed": torch.zeros(3)}
    del weights["visual.trunk.norm.weight"]
    safetensors.torch.save_file(weights, path)
    with pytest.raises(InvalidInput) as refused:
        build_model(load_config("tiny-nbclip", overrides).model, seed=1)
    for said in (str(path), "visual.trunk.pos_embed", "visual.trunk.norm.weight"):
        assert said in refused.value.message
    assert "\n" not in refused.value.message


def test_a_folder_without_weights_is_said_to_start_from_random_ones(made, caplog):
    overrides, folder, _ = made
    (folder / "open_clip_model.safetensors").unlink()
    build_model(load_config("tiny-nbclip", overrides).model, seed=1)
    assert [record.message for record in caplog.records] == [
        f"local-dir:{folder} has no weights: training starts from random ones"
    ]


@pytest.mark.parametrize(
    ("name", "pool", "proj", "width"),
    [
        ("test_resnet", "avg", "linear", 96),
        ("test_resnet", "avg", "mlp", 96),
        ("test_resnet", "avg", "", 96),
        ("test_resnet", "avg", "none", 96),
        ("resnet10t", "rot_attn", "linear", 12),
    ],
)
def test_features_before_the_projection_are_known_of_all_projections_of_timm(name, pool, proj, width):
    torch.manual_seed(2)
    size = 12 if proj != "none" else 96
    vision = {"image_size": 160, "timm_model_name": name, "timm_pool": pool, "timm_proj": proj}
    text = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    visual = open_clip.CLIP(size, vision, text).eval().visual
    images = torch.rand(3, 3, 160, 160)
    with torch.no_grad():
        expected = visual(images)
        with unprojected(visual) as project:
            before = visual(images)
            assert (project is None) == (proj == "none")
            torch.testing.assert_close(before if project is None else project(before), expected)
        assert before.shape == (3, width)
        assert torch.equal(visual(images), expected)
