import pytest
import torch
from nbclip_trainer.models.probing import probe
from torch import nn

PAIRS = torch.zeros(2, 3, 2, 2), torch.zeros(2, 7, dtype=torch.long)


class Linear(nn.Module):
    """An image of 12 numbers and tokens of 6 to 4 features, and what a count must not be led astray by."""

    def __init__(self):
        super().__init__()
        self.image, self.text = nn.Linear(12, 4), nn.Linear(6, 4)
        self.words, self.norm, self.drop = nn.Embedding(10, 6), nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.unused, self.logit_scale = nn.Linear(5, 5), nn.Parameter(torch.ones(()))

    def forward(self, images, tokens):
        image = self.drop(self.norm(self.image(images.flatten(1))))
        text = self.text(self.words(tokens).mean(dim=1))
        return {"image_features": image, "text_features": text, "logit_scale": self.logit_scale.exp()}


def flops(model):
    return probe(model, PAIRS).flops_of_a_pair


def test_a_product_of_a_by_b_is_two_times_a_times_b_and_each_gradient_as_much_again():
    """Forward, weights backward, and backward into the words; nothing asks for the gradient of pixels."""
    model = Linear()
    image, text = 2 * 12 * 4, 2 * 6 * 4
    assert flops(model) == 2 * image + 3 * text
    model.image.requires_grad_(False)
    model.norm.requires_grad_(False)
    assert flops(model) == image + 3 * text
    model.requires_grad_(False)
    assert flops(model) == image + text


@pytest.mark.parametrize("frozen", [False, True])
def test_attention_counts_whatever_computes_it(frozen):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, images, tokens):
            return {
                "image_features": self.layer(images[:, 0]).mean(1),
                "text_features": tokens.float(),
                "logit_scale": torch.ones(()),
            }

    model = Attention().requires_grad_(not frozen)
    length, width, hidden = 5, 8, 16
    weights = 2 * length * (4 * width * width + 2 * width * hidden)
    products = 2 * 2 * length * length * width
    # Backward: every weight and, of all but the first product, its input; both inputs of each product of attention.
    into_first = 2 * length * 3 * width * width
    whole = weights + products if frozen else 3 * weights - into_first + 3 * products
    assert probe(model, (torch.zeros(2, 1, length, width), PAIRS[1])).flops_of_a_pair == whole


def test_the_count_leaves_no_trace():
    model = Linear()
    model.drop.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    flops(model)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [module.training for module in (model, model.norm, model.drop)] == [True, True, False]
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_compiled_model_is_counted_too():
    model = Linear()
    expected = flops(model)
    model.compile(backend="eager")
    assert flops(model) == expected


def test_weights_that_no_feature_depends_on_are_named():
    model = Linear()
    assert probe(model, PAIRS).idle == ("unused.weight", "unused.bias")
    model.unused.requires_grad_(False)
    assert probe(model, PAIRS).idle == ()
    assert probe(model.requires_grad_(False), PAIRS).idle == ()
