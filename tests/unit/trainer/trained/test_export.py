"""An exported run is the run: open_clip loads it from the folder and gives the same features."""

import json

import open_clip
import pytest
import torch
from nbclip.errors import Conflict
from nbclip_trainer.trained.export import export_run
from nbclip_trainer.trained.loading import load_run
from PIL import Image


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    return export_run(runs[1], tmp_path_factory.mktemp("export") / "model")


def test_open_clip_loads_it_and_gives_the_same_features(runs, exported):
    ours = load_run(runs[1])
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{exported}")
    model.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{exported}")(["CT of the head", "MR of the chest"])
    assert torch.equal(tokens, ours.tokenizer(["CT of the head", "MR of the chest"]))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.encode_image(images), ours.model.encode_image(images))
        assert torch.equal(model.encode_text(tokens), ours.model.encode_text(tokens))
        assert torch.equal(model.logit_scale, ours.model.logit_scale)
    image = Image.effect_noise((50, 30), 90).convert("RGB")
    assert torch.equal(preprocess(image), ours.preprocess(image))


def test_the_card_says_what_binds_its_user(exported):
    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: open_clip\n")
    for said in ("targets: noise", "train: 48 pairs", "CC0 1.0 (48)", "| image→image | organ | P@5 |", "no medical device"):
        assert said in card, said


def test_it_tells_nothing_of_the_machine_that_trained(exported, metadata):
    texts = "".join(path.read_text() for path in exported.iterdir() if path.suffix in {".md", ".yaml", ".json"})
    assert str(metadata.parent) not in texts
    assert json.loads((exported / "open_clip_config.json").read_text())["model_cfg"]["embed_dim"] == 16


def test_what_is_there_is_left_alone(runs, exported):
    before = sorted(exported.iterdir())
    with pytest.raises(Conflict, match="already exists"):
        export_run(runs[0], exported)
    assert sorted(exported.iterdir()) == before
    assert list(exported.parent.iterdir()) == [exported]
