import open_clip
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.models.heads import Heads, image_below_projection, text_below_projection
from nbclip_trainer.models.projections import unprojected, unprojected_text
from nbclip_trainer.models.settings import ModelSettings
from nbclip_trainer.models.stages import towers_of

TEXT = {"context_length": 8, "vocab_size": 99, "width": 16, "heads": 2, "layers": 1}
TOWERS = {
    "vision transformer": ({"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}, 32),
    "modified resnet": ({"image_size": 32, "layers": (1, 1, 1, 1), "width": 8, "head_width": 16}, 256),
    "timm": ({"image_size": 32, "timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear"}, 96),
}
TEXTS = {"a matrix": {}, "a linear layer": {"proj_bias": True}, "none": {"proj_type": "none", "width": 12, "heads": 2}}


@pytest.fixture(params=TOWERS)
def model_and_width(request):
    torch.manual_seed(1)
    vision, width = TOWERS[request.param]
    return open_clip.CLIP(12, vision, TEXT).eval(), width


def test_features_before_the_projection_project_to_the_models_own(model_and_width):
    model, width = model_and_width
    pixels = torch.rand(5, 3, 32, 32)
    with torch.inference_mode():
        expected = model.visual(pixels)
        with unprojected(model.visual) as project:
            before = model.visual(pixels)
            after = project(before)
        assert before.shape == (5, width)
        torch.testing.assert_close(after, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model.visual(pixels), expected)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("whole", [open_clip.CLIP, open_clip.CustomTextCLIP])
def test_so_do_those_of_texts(kind, whole):
    model = whole(12, TOWERS["vision transformer"][0], {**TEXT, **TEXTS[kind]}).eval()
    tokens = torch.randint(1, 99, (5, 8))
    with torch.inference_mode():
        expected = model.encode_text(tokens)
        with unprojected_text(model) as project:
            before = model.encode_text(tokens)
            assert before.shape == (5, 12 if kind == "none" else 16)
            torch.testing.assert_close(before if kind == "none" else project(before), expected)
            assert (project is None) == (kind == "none")
        torch.testing.assert_close(model.encode_text(tokens), expected)


def test_the_towers_are_put_back_whatever_happens(model_and_width):
    model, _ = model_and_width
    names = dict(model.named_parameters()).keys()
    with pytest.raises(KeyError), unprojected(model.visual), unprojected_text(model):
        raise KeyError
    assert dict(model.named_parameters()).keys() == names


def test_a_tower_of_another_kind_is_refused():
    other = torch.nn.Linear(1, 1)
    with pytest.raises(InvalidInput, match="no projection is known of the image tower Linear"), unprojected(other):
        pass


def test_heads_on_what_the_towers_computed_are_the_model(model_and_width):
    """Values and gradients, with a bias and without."""
    model, _ = model_and_width
    model.output_dict = True
    pixels, tokens = torch.rand(5, 3, 32, 32), torch.randint(1, 99, (5, 8))
    given = image_below_projection(model, pixels), text_below_projection(model, tokens)
    assert not any(features.requires_grad for features in given)
    for bias in (None, torch.nn.Parameter(torch.tensor(0.5))):
        model.logit_bias = bias
        whole, heads = model(pixels, tokens), Heads(model, ModelSettings())(*given)
        assert whole.keys() == heads.keys()
        for name, value in whole.items():
            torch.testing.assert_close(heads[name], value, atol=1e-6, rtol=1e-5)
        for tower in towers_of(model):
            weight = model.get_parameter(tower.projection[0])
            of_whole, of_heads = (
                torch.autograd.grad(out[f"{tower.name}_features"][0, 0], weight, retain_graph=True)[0] for out in (whole, heads)
            )
            assert of_whole.abs().max() > 0
            torch.testing.assert_close(of_heads, of_whole, atol=1e-5, rtol=1e-4)
