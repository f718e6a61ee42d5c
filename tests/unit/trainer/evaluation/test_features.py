import numpy as np
import open_clip
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.errors import BadImage
from nbclip_trainer.evaluation.features import (
    encode_captions,
    encode_images,
    encode_texts,
    raw_pixels,
)
from nbclip_trainer.models.projections import unprojected, unprojected_text
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TOWERS = {
    "vision transformer": ({"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}, 32),
    "modified resnet": ({"image_size": 32, "layers": (1, 1, 1, 1), "width": 8, "head_width": 16}, 256),
    "timm": ({"image_size": 32, "timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear"}, 96),
}
PREPROCESS = image_transform_v2(PreprocessCfg(size=32, resize_mode="squash"), is_train=False)


@pytest.fixture(params=TOWERS)
def model_and_width(request):
    torch.manual_seed(1)
    vision, width = TOWERS[request.param]
    return open_clip.CLIP(12, vision, TEXT), width


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(2)
    paths = [folder / f"{number}.png" for number in range(5)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(path)
    return paths


def test_projected_features_are_the_models_own(model_and_width, files):
    model, _ = model_and_width
    found = encode_images(model, PREPROCESS, files, batch_size=2)
    model.eval()
    with torch.inference_mode():
        pixels = torch.stack([PREPROCESS(Image.open(file)) for file in files])
        expected = model.encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(found.projected, expected, atol=2e-6)
    assert found.projected.dtype == np.float32


class HuggingFaceLike(torch.nn.Module):
    """A text tower that ends in `proj`, as open_clip's adapter of transformers does."""

    def __init__(self, proj):
        super().__init__()
        self.embedding, self.proj = torch.nn.Embedding(49408, 16), proj

    def forward(self, tokens):
        return self.proj(self.embedding(tokens).mean(dim=1))


def text_model(kind):
    torch.manual_seed(4)
    vision, _ = TOWERS["vision transformer"]
    if kind == "in the model":
        return open_clip.CLIP(12, vision, TEXT)
    model = open_clip.CustomTextCLIP(12, vision, {**TEXT, "proj_bias": kind == "linear with bias"})
    if kind == "proj":
        model.text = HuggingFaceLike(torch.nn.Linear(16, 12))
    return model


TOKENIZER = open_clip.SimpleTokenizer(context_length=8)
CAPTIONS = ["CT of the head", "an MRI", "X-ray of both knees"]


@pytest.mark.parametrize("kind", ["in the model", "matrix", "linear with bias", "proj"])
def test_captions_before_the_projection_project_to_the_models_own(kind):
    model = text_model(kind)
    names = dict(model.named_parameters()).keys()
    found = encode_captions(model, TOKENIZER, CAPTIONS, batch_size=2)
    with torch.inference_mode():
        expected = model.eval().encode_text(TOKENIZER(CAPTIONS), normalize=True)
        with unprojected_text(model) as project:
            before = model.encode_text(TOKENIZER(CAPTIONS))
            after = torch.nn.functional.normalize(project(before), dim=1)
    np.testing.assert_allclose(found.projected, expected.numpy(), atol=2e-6)
    torch.testing.assert_close(after, expected, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(found.backbone, torch.nn.functional.normalize(before, dim=1).numpy(), atol=2e-6)
    assert found.backbone.shape == (3, 16)
    assert dict(model.named_parameters()).keys() == names


def test_a_text_tower_that_projects_nothing_has_no_features_before_that():
    model = text_model("proj")
    model.text = HuggingFaceLike(torch.nn.Identity())
    found = encode_captions(model, TOKENIZER, CAPTIONS)
    assert found.backbone is None
    assert found.projected.shape == (3, 16)


def test_encoding_leaves_the_model_in_the_mode_it_was_in(model_and_width, files):
    model, _ = model_and_width
    encode_images(model.train(), PREPROCESS, files)
    assert model.training


def test_all_features_have_length_one(model_and_width, files):
    model, _ = model_and_width
    image = encode_images(model, PREPROCESS, files)
    text = encode_texts(model, open_clip.SimpleTokenizer(context_length=8), ["CT", "an MRI of the head", "CT"])
    for features in (image.projected, image.backbone, text):
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(text[0], text[2], atol=1e-6)


def test_a_tower_of_another_kind_is_refused():
    with (
        pytest.raises(InvalidInput, match="no projection is known of the image tower Linear"),
        unprojected(torch.nn.Linear(1, 1)),
    ):
        pass


def test_the_cosine_of_raw_pixels_is_their_correlation(files):
    features = raw_pixels(files)
    first, second = (
        np.asarray(Image.open(file).convert("L").resize((16, 16), Image.Resampling.BOX), float).ravel() for file in files[:2]
    )
    assert features.shape == (5, 256)
    assert features[0] @ features[1] == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-6)


def test_a_flat_image_has_no_direction(tmp_path):
    Image.new("L", (20, 20), 77).save(tmp_path / "flat.png")
    assert not raw_pixels([tmp_path / "flat.png"]).any()


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(BadImage, match=r"gone\.png"):
        raw_pixels([tmp_path / "gone.png"])
