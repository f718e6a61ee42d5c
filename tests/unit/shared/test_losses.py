from functools import partial

import numpy as np
import open_clip
import pytest
import torch
from nbclip.client import Service
from nbclip.losses import (
    Cosines,
    cosines,
    cross_entropy,
    diagonal,
    entropy,
    mse_of_cosines,
    mse_of_probabilities,
    sigmoid_fff,
    sigmoid_soft,
    starting_bias,
)
from nbclip.schemas.targets import TargetParameters
from nbclip.targets import build_targets
from torch.nn.functional import normalize

EYE = torch.eye(7)
BIAS = torch.tensor(-1.0)


def features(count=7, dimensions=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [normalize(torch.randn(count, dimensions, generator=generator, dtype=dtype), dim=1) for _ in range(2)]


def graph(count=7, seed=2):
    """Similarities and target rows."""
    vectors = np.random.default_rng(seed).standard_normal((count, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = torch.from_numpy((vectors @ vectors.T).astype(np.float32))
    known = torch.ones(count, dtype=torch.bool)
    return similarity, build_targets(similarity, torch.arange(count), known, TargetParameters(effective_neighbours=3))


def losses_of(weight=0.5):
    """Each loss as a function of cosines, scale, similarities, rows and own columns."""
    return {
        "cross_entropy": lambda cosine, scale, similarity, rows, own: cross_entropy(cosine, scale, rows),
        "mse_of_cosines": lambda cosine, scale, similarity, rows, own: mse_of_cosines(
            cosine, similarity, diagonal_weight=weight, own_R=own
        ),
        "mse_of_probabilities": lambda cosine, scale, similarity, rows, own: mse_of_probabilities(
            cosine, scale, rows, diagonal_weight=weight, own_R=own
        ),
        "sigmoid_soft": lambda cosine, scale, similarity, rows, own: sigmoid_soft(cosine, scale, BIAS.to(scale), similarity),
        "sigmoid_fff": lambda cosine, scale, similarity, rows, own: sigmoid_fff(
            cosine, scale, BIAS.to(scale), similarity, own_R=own
        ),
    }


NAMES = losses_of().keys()


def value_and_gradients(loss, *inputs):
    return [loss.detach(), *torch.autograd.grad(loss, inputs)]


def test_one_hot_rows_give_open_clips_loss_and_gradient():
    image, text = (x.requires_grad_() for x in features())
    scale = torch.tensor(14.3, requires_grad=True)
    ours = value_and_gradients(cross_entropy(cosines(image, text), scale, EYE), image, text, scale)
    theirs = value_and_gradients(open_clip.ClipLoss()(image, text, scale), image, text, scale)
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, reference, atol=1e-6, rtol=1e-6)


def test_fff_on_identity_gives_open_clips_siglip_loss_and_gradient():
    image, text = (x.requires_grad_() for x in features())
    scale, bias = torch.tensor(10.0, requires_grad=True), torch.tensor(-4.0, requires_grad=True)
    ours = value_and_gradients(sigmoid_fff(cosines(image, text), scale, bias, EYE), image, text, scale, bias)
    theirs = value_and_gradients(open_clip.loss.SigLipLoss()(image, text, scale, bias), image, text, scale, bias)
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, reference, atol=1e-5, rtol=1e-6)


def test_soft_sigmoid_on_identity_is_fff():
    given = cosines(*features()), torch.tensor(10.0), torch.tensor(-3.0), EYE
    assert torch.allclose(sigmoid_soft(*given), sigmoid_fff(*given), atol=1e-6)


@pytest.mark.parametrize("weight", [0.5, None])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name, weight):
    image, text = (x.double().requires_grad_() for x in features(4, 3))
    similarity, rows = (x.double() for x in graph(4))

    def loss(image, text, scale):
        return losses_of(weight)[name](Cosines(image @ text.T, text @ image.T), scale, similarity, rows, torch.arange(4))

    assert torch.autograd.gradcheck(loss, (image, text, torch.tensor(5.0).double().requires_grad_()))


def test_the_least_cross_entropy_is_the_entropy_of_the_rows():
    rows = torch.softmax(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    one = torch.tensor(1.0)
    assert torch.allclose(cross_entropy(Cosines(rows.log(), rows.log()), one, rows), entropy(rows).mean())
    assert cross_entropy(Cosines(-rows, rows), one, rows) > entropy(rows).mean()


def test_both_directions_use_the_same_rows_and_their_own_softmax():
    """The text direction by hand: row j of the targets against the softmax over images of text j, never a transposed row."""
    image, text = features()
    _, rows = graph()
    c, p = image.numpy().astype(float) @ text.numpy().astype(float).T, rows.numpy().astype(float)

    def by_hand(logits):
        log_softmax = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return -(p * log_softmax).sum(1).mean()

    expected = (by_hand(10 * c) + by_hand(10 * c.T)) / 2
    assert cross_entropy(cosines(image, text), torch.tensor(10.0), rows).item() == pytest.approx(expected, abs=1e-5)
    assert not np.allclose(p, p.T, atol=1e-3)


@pytest.mark.parametrize("name", ["cross_entropy", "mse_of_cosines", "mse_of_probabilities"])
def test_swapping_images_and_texts_changes_nothing_in_losses_of_both_directions(name):
    image, text = features()
    given = torch.tensor(10.0), *graph(), torch.arange(7)
    loss = losses_of()[name]
    assert torch.allclose(loss(cosines(image, text), *given), loss(cosines(text, image), *given), atol=1e-6)


def test_mse_on_cosines_by_hand():
    image, text = features(3)
    similarity, _ = graph(3)
    error = ((image @ text.T) - similarity).square()
    off = error[~torch.eye(3, dtype=torch.bool)]
    found = partial(mse_of_cosines, cosines(image, text), similarity)
    assert torch.allclose(found(diagonal_weight=None), error.mean())
    assert torch.allclose(found(diagonal_weight=0.25), 0.25 * error.diagonal().mean() + 0.75 * off.mean())
    assert torch.allclose(found(diagonal_weight=1 / 3), error.mean())


def test_mse_on_probabilities_is_the_squared_distance_of_rows():
    image, text = features(3)
    _, rows = graph(3)
    distance = [((10 * c).softmax(1) - rows).square().sum(1).mean() for c in (image @ text.T, text @ image.T)]
    found = mse_of_probabilities(cosines(image, text), torch.tensor(10.0), rows, diagonal_weight=None)
    assert torch.allclose(found, sum(distance) / 2)


def test_fff_takes_pairs_above_the_threshold_as_positive():
    similarity = torch.tensor([[1.0, 0.6, 0.2], [0.6, 1.0, 0.5], [0.2, 0.5, 1.0]])
    image, text = features(3)
    sign = torch.tensor([[1, 1, -1], [1, 1, -1], [-1, -1, 1]])
    expected = -torch.nn.functional.logsigmoid(sign * (10 * image @ text.T - 2)).sum() / 3
    assert torch.allclose(sigmoid_fff(cosines(image, text), torch.tensor(10.0), torch.tensor(-2.0), similarity), expected)


@pytest.mark.parametrize("share", [0.0, 1 / 7, 0.4, 1.0])
def test_the_bias_starts_where_the_mean_pair_is_as_it_should_be(share):
    cosine = cosines(*features()).image_text
    bias = starting_bias(torch.tensor(20.0), cosine.mean(), torch.tensor(share))
    assert (20.0 * cosine.mean() + bias).sigmoid().item() == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("loss", [sigmoid_soft, sigmoid_fff])
def test_from_that_bias_a_sigmoid_loss_tells_pairs_apart_and_does_not_push_all_of_them_down(loss):
    generator = torch.Generator().manual_seed(3)
    count, scale = 64, torch.tensor(4.0)
    image, text = (torch.randn(count, 16, generator=generator).requires_grad_() for _ in range(2))

    def cosine():
        return cosines(normalize(image, dim=1), normalize(text, dim=1))

    def push_on_all(bias):
        found = cosine().image_text.detach().requires_grad_()
        [gradient] = torch.autograd.grad(loss(Cosines(found, found.T), scale, bias, torch.eye(count)), found)
        return gradient.sum().abs() / gradient.abs().sum()

    start = starting_bias(scale, cosine().image_text.detach().mean(), torch.tensor(1 / count))
    zero = -scale * cosine().image_text.detach().mean()
    assert push_on_all(start) < 0.3 < 0.9 < push_on_all(zero)
    bias = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([image, text, bias], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        loss(cosine(), scale, bias, torch.eye(count)).backward()
        optimizer.step()
    trained, own = cosine().image_text.detach(), torch.eye(count, dtype=torch.bool)
    assert trained[own].mean() - trained[~own].mean() > 0.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weight", [0.5, None])
def test_the_mean_over_two_ranks_is_the_loss_of_the_global_batch(name, weight):
    image, text = features(6)
    similarity, rows = graph(6)
    loss, scale = losses_of(weight)[name], torch.tensor(10.0)
    shares = [
        loss(cosines(image[own], text[own], image, text), scale, similarity[own], rows[own], own)
        for own in (torch.arange(3), torch.arange(3, 6))
    ]
    together = loss(cosines(image, text), scale, similarity, rows, None)
    assert torch.allclose(sum(shares) / 2, together, atol=1e-6)


def test_the_diagonal_is_where_a_ranks_own_columns_are():
    assert diagonal(torch.zeros(2, 4)).int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert diagonal(torch.zeros(2, 4), torch.tensor([2, 0])).int().tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]


def test_half_precision_features_are_compared_in_float32():
    image, text = features()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cosine = cosines(image.bfloat16(), text.bfloat16())
    assert cosine.image_text.dtype == torch.float32
    assert torch.allclose(cosine.image_text, image.bfloat16().float() @ text.bfloat16().float().T)


def trained(ids, rows):
    """Cosines after a loop without the trainer: two linear towers, images and texts at random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images, texts = torch.randn(2, len(ids), 16)
        towers = torch.nn.ModuleList(torch.nn.Linear(16, 8) for _ in range(2))
    optimizer = torch.optim.Adam(towers.parameters(), lr=0.02)
    for _ in range(100):
        cosine = cosines(normalize(towers[0](images), dim=1), normalize(towers[1](texts), dim=1))
        loss = cross_entropy(cosine, torch.tensor(10.0), rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return cosine.image_text.detach()


def test_a_loop_of_ones_own_learns_what_the_service_knows(service):
    """Images of one digit are alike: they end nearer to each other's texts than by one-hot targets."""
    ids = [f"id{number}" for number in range(12)]
    with Service(service.url) as client:
        rows = torch.from_numpy(
            client.targets(ids, parameters=TargetParameters(neighbour_mass=0.5, effective_neighbours=1)).values
        )
    alike, others = ([0, 10, 1, 11], [10, 0, 11, 1])
    soft, hard = (trained(ids, target)[alike, others].mean() for target in (rows, torch.eye(12)))
    assert soft > hard + 0.1
