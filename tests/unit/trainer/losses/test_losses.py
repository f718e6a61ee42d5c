import numpy as np
import open_clip
import pytest
import torch
from nbclip.codec import TargetMatrix
from nbclip_trainer.config import LossSettings, TargetSettings
from nbclip_trainer.losses import compute_loss
from nbclip_trainer.losses.cosines import Cosines, cosines
from nbclip_trainer.losses.cross_entropy import entropy
from nbclip_trainer.losses.sigmoid import starting_bias
from nbclip_trainer.targets.rows import Targets, target_rows
from torch.nn.functional import normalize

CPU = torch.device("cpu")
NAMES = ("infonce", "sm", "mse", "sigmoid_soft", "sigmoid_fff")


def features(count=7, dimensions=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [normalize(torch.randn(count, dimensions, generator=generator, dtype=dtype), dim=1) for _ in range(2)]


def targets_of(similarity, knowledge=True, own=None, **settings):
    rows, columns = similarity.shape
    matrix = TargetMatrix("similarity", similarity, np.full(columns, knowledge), np.zeros(columns, bool), {})
    own = torch.arange(rows) if own is None else own
    keys = torch.arange(columns)
    return target_rows(matrix, own, keys[own], keys, TargetSettings(**settings), CPU)


def identity(count=7):
    return targets_of(np.eye(count, dtype=np.float32), knowledge=False)


def graph(count=7, seed=2):
    vectors = np.random.default_rng(seed).standard_normal((count, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return targets_of((vectors @ vectors.T).astype(np.float32), effective_neighbours=3)


def loss_of(name, image, text, targets, scale=10.0, bias=None, **settings):
    scale, bias = torch.as_tensor(scale), None if bias is None else torch.as_tensor(bias)
    return compute_loss(cosines(image, text, image, text), scale, bias, targets, LossSettings(name=name, **settings))["loss"]


def value_and_gradients(loss, *inputs):
    return [loss.detach(), *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("name", ["infonce", "sm"])
def test_identity_targets_give_open_clips_loss_and_gradient(name):
    image, text = (x.requires_grad_() for x in features())
    scale = torch.tensor(14.3, requires_grad=True)
    ours = value_and_gradients(loss_of(name, image, text, identity(), scale), image, text, scale)
    theirs = value_and_gradients(open_clip.ClipLoss()(image, text, scale), image, text, scale)
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, reference, atol=1e-6, rtol=1e-6)


def test_fff_on_identity_gives_open_clips_siglip_loss_and_gradient():
    image, text = (x.requires_grad_() for x in features())
    scale, bias = torch.tensor(10.0, requires_grad=True), torch.tensor(-4.0, requires_grad=True)
    ours = value_and_gradients(loss_of("sigmoid_fff", image, text, identity(), scale, bias), image, text, scale, bias)
    theirs = value_and_gradients(open_clip.loss.SigLipLoss()(image, text, scale, bias), image, text, scale, bias)
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, reference, atol=1e-5, rtol=1e-6)


def test_soft_sigmoid_on_identity_is_fff():
    image, text = features()
    soft = loss_of("sigmoid_soft", image, text, identity(), bias=-3.0)
    assert torch.allclose(soft, loss_of("sigmoid_fff", image, text, identity(), bias=-3.0), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("on", ["cos", "prob"])
def test_gradients_agree_with_finite_differences(name, on):
    image, text = (x.double().requires_grad_() for x in features(4, 3))
    targets = graph(4)
    targets = Targets(targets.rows.double(), targets.similarity.double(), targets.own, targets.has_knowledge)

    def loss(image, text, scale):
        cosine = Cosines(image @ text.T, text @ image.T)
        return compute_loss(cosine, scale, torch.tensor(-1.0).double(), targets, LossSettings(name=name, mse_on=on))["loss"]

    assert torch.autograd.gradcheck(loss, (image, text, torch.tensor(5.0).double().requires_grad_()))


def test_kl_is_zero_where_the_softmax_equals_the_targets():
    rows = torch.softmax(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    targets = Targets(rows, rows, torch.arange(5), torch.ones(5, dtype=torch.bool))
    cosine = Cosines(rows.log(), rows.log())
    parts = compute_loss(cosine, torch.tensor(1.0), None, targets, LossSettings(name="sm"))
    assert parts["kl"].abs() < 1e-6
    assert torch.allclose(parts["loss"], entropy(rows).mean())
    off = compute_loss(Cosines(-rows, rows), torch.tensor(1.0), None, targets, LossSettings(name="sm"))
    assert off["kl"] > 0


def test_both_directions_use_the_same_rows_and_their_own_softmax():
    """The text direction by hand: row j of the targets against the softmax over images of text j, never a transposed row."""
    image, text = features()
    targets = graph()
    c, p = image.numpy().astype(float) @ text.numpy().astype(float).T, targets.rows.numpy().astype(float)

    def cross_entropy(logits):
        log_softmax = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return -(p * log_softmax).sum(1).mean()

    expected = (cross_entropy(10 * c) + cross_entropy(10 * c.T)) / 2
    assert loss_of("sm", image, text, targets).item() == pytest.approx(expected, abs=1e-5)
    assert not np.allclose(p, p.T, atol=1e-3)


def test_swapping_images_and_texts_changes_nothing_in_softmax_losses():
    image, text = features()
    for name in ("infonce", "sm", "mse"):
        assert torch.allclose(loss_of(name, image, text, graph()), loss_of(name, text, image, graph()), atol=1e-6)


def test_mse_on_cosines_by_hand():
    image, text = features(3)
    targets = graph(3)
    error = ((image @ text.T) - targets.similarity).square()
    off = error[~torch.eye(3, dtype=torch.bool)]
    assert torch.allclose(loss_of("mse", image, text, targets, diagonal_weight=None), error.mean())
    weighted = loss_of("mse", image, text, targets, diagonal_weight=0.25)
    assert torch.allclose(weighted, 0.25 * error.diagonal().mean() + 0.75 * off.mean())
    assert torch.allclose(loss_of("mse", image, text, targets, diagonal_weight=1 / 3), error.mean())


def test_mse_on_probabilities_is_the_squared_distance_of_rows():
    image, text = features(3)
    targets = graph(3)
    distance = [((10 * c).softmax(1) - targets.rows).square().sum(1).mean() for c in (image @ text.T, text @ image.T)]
    found = loss_of("mse", image, text, targets, mse_on="prob", diagonal_weight=None)
    assert torch.allclose(found, sum(distance) / 2)


def test_fff_takes_pairs_above_the_threshold_as_positive():
    similarity = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, 0.5], [0.2, 0.5, 1.0]], np.float32)
    image, text = features(3)
    sign = torch.tensor([[1, 1, -1], [1, 1, -1], [-1, -1, 1]])
    expected = -torch.nn.functional.logsigmoid(sign * (10 * image @ text.T - 2)).sum() / 3
    found = loss_of("sigmoid_fff", image, text, targets_of(similarity), bias=-2.0, threshold=0.5)
    assert torch.allclose(found, expected)


def test_the_bias_starts_where_most_pairs_have_logit_zero():
    image, text = features()
    cosine = cosines(image, text, image, text)
    bias = starting_bias(cosine, torch.tensor(20.0), identity())
    off_diagonal = cosine.image_text[~torch.eye(7, dtype=torch.bool)]
    assert (20.0 * off_diagonal + bias).mean().abs() < 1e-5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weight", [0.5, None])
def test_the_mean_over_two_ranks_is_the_loss_of_the_global_batch(name, weight):
    image, text = features(6)
    whole = graph(6)
    settings = LossSettings(name=name, diagonal_weight=weight)
    scale, bias = torch.tensor(10.0), torch.tensor(-1.0)
    shares = []
    for own in (torch.arange(3), torch.arange(3, 6)):
        share = Targets(whole.rows[own], whole.similarity[own], own, whole.has_knowledge[own])
        cosine = cosines(image[own], text[own], image, text)
        shares.append(compute_loss(cosine, scale, bias, share, settings)["loss"])
    together = compute_loss(cosines(image, text, image, text), scale, bias, whole, settings)["loss"]
    assert torch.allclose(sum(shares) / 2, together, atol=1e-6)


def test_half_precision_features_are_compared_in_float32():
    image, text = features()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cosine = cosines(image.bfloat16(), text.bfloat16(), image.bfloat16(), text.bfloat16())
    assert cosine.image_text.dtype == torch.float32
    assert torch.allclose(cosine.image_text, image.bfloat16().float() @ text.bfloat16().float().T)
