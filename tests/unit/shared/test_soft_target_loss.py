"""`SoftTargetLoss` beside the trainer's own classes, on one rank and on two, and what it refuses."""

import threading
from operator import itemgetter

import numpy as np
import pytest
import torch
from nbclip.client import Service
from nbclip.codec import TargetMatrix
from nbclip.errors import InvalidInput, ServiceAway, UnknownImages
from nbclip.losses import cosines
from nbclip.schemas.targets import TargetParameters
from nbclip.soft_target_loss import SoftTargetLoss
from nbclip_trainer.losses.loss import LossInput
from nbclip_trainer.losses.table import LOSSES
from nbclip_trainer.targets.rows import target_rows
from nbclip_trainer.targets.settings import TargetSettings
from support.ranks import run_ranks
from torch.nn.functional import normalize

IDS = [f"id{number}" for number in range(16)]
SHAPE = {"neighbour_mass": 0.6, "effective_neighbours": 2.0}
CASES = {
    "infonce": {},
    "sm": {},
    "mse": {"diagonal_weight": 0.25},
    "mse prob": {"mse_on": "prob", "diagonal_weight": None},
    "sigmoid_soft": {},
    "sigmoid_fff": {"threshold": 0.3},
}
each_loss = pytest.mark.parametrize("case", CASES)


def features(count=16, dtype=torch.float32):
    """Of images and texts, not normalised; exp(logit_scale) and a bias; all with gradients."""
    generator = torch.Generator().manual_seed(5)
    pair = [3 * torch.randn(count, 8, generator=generator, dtype=torch.float64) for _ in range(2)]
    return [each.to(dtype).requires_grad_() for each in (*pair, torch.tensor(9.0), torch.tensor(-3.0))]


def loss_of(case, source=None):
    asked = {} if case == "infonce" or source is None else {"parameters": TargetParameters(**SHAPE)}
    return SoftTargetLoss(case.split()[0], source, **CASES[case], **asked)


def by_the_trainer(case, service, given):
    """Loss and gradients by the trainer's class, on rows that are built here of the service's similarities."""
    image, text, scale, bias = given
    knowledge = "identity" if case == "infonce" else "dk_ek"
    similarity = service.targets(IDS, output="similarity")
    if case == "infonce":
        similarity.has_knowledge[:] = False
    keys = torch.arange(len(IDS))
    targets = target_rows(similarity, keys, keys, keys, TargetSettings(knowledge=knowledge, **SHAPE), torch.device("cpu"))
    cosine = cosines(normalize(image, dim=1), normalize(text, dim=1))
    loss = LOSSES[case.split()[0]](**CASES[case]).compute(LossInput(cosine, scale, bias, targets))["loss"]
    return with_gradients(loss, given)


def with_gradients(loss, given):
    found = torch.autograd.grad(loss, given, allow_unused=True, materialize_grads=True)
    return [each.detach().numpy() for each in (loss, *found)]


def close(found, expected):
    return all(np.allclose(one, other, atol=1e-6, rtol=1e-6) for one, other in zip(found, expected, strict=True))


@each_loss
def test_it_is_the_trainers_loss_with_its_gradients(service, case):
    service.without = {"id3", "id13"}
    with Service(service.url) as client:
        given = features()
        found = with_gradients(loss_of(case, client)(*given, image_ids=IDS), given)
        assert close(found, by_the_trainer(case, client, features()))
    assert all(np.abs(gradient).max() > 1e-4 for gradient in found[1:3])


def on_a_rank(world, url, dtype):
    """Every loss with its gradients on this rank's pairs, by ids and by targets asked for ahead."""
    own = world.own(np.arange(16))
    with Service(url) as client:
        return {case: of_rank(loss_of(case, client), own, dtype) for case in CASES}


def of_rank(soft, own, dtype):
    image, text, scale, bias = features(dtype=dtype)
    given = [image[own].detach().requires_grad_(), text[own].detach().requires_grad_(), scale, bias]
    ids = [IDS[row] for row in own]
    found = with_gradients(soft(*given, image_ids=ids), given)
    [(_, ahead)] = soft.prefetched([ids], ids=lambda batch: batch)
    assert close(found, with_gradients(soft(*given, targets=ahead), given))
    return found


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 2e-6), (torch.float64, 1e-12)], ids=["float32", "float64"])
def test_two_ranks_are_one_process(service, dtype, within):
    """Gradients of a rank's features are those of the mean over ranks times their number, which averaging divides by."""
    service.without = {"id3", "id13"}
    first, second = run_ranks(on_a_rank, service.url, dtype)
    with Service(service.url) as client:
        for case in CASES:
            given = features(dtype=dtype)
            alone = with_gradients(loss_of(case, client)(*given, image_ids=IDS), given)
            ranks = list(zip(first[case], second[case], strict=True))
            means = [(one + other) / 2 for one, other in (ranks[0], *ranks[3:])]
            joined = [np.concatenate(each) / 2 for each in ranks[1:3]]
            for found, expected in zip((means[0], *joined, *means[1:]), alone, strict=True):
                assert np.allclose(found, expected, atol=within, rtol=within), case
            assert not np.allclose(*ranks[0], atol=1e-3), case


def with_other_numbers(world, url):
    """The message of ranks whose batches differ in size."""
    with Service(url) as client, pytest.raises(InvalidInput) as refused:
        next(iter(SoftTargetLoss("sm", client).prefetched([IDS[: 4 + world.rank]], ids=lambda batch: batch)))
    return str(refused.value)


def test_ranks_with_batches_of_other_sizes_are_told_so(service):
    assert {"the ranks' batches have 4, 5 pairs" in message for message in run_ranks(with_other_numbers, service.url)} == {True}


def test_whether_features_are_normalised_makes_no_difference(service):
    image, text, scale, _ = features()
    with Service(service.url) as client:
        soft = loss_of("sm", client)
        plain = soft(image, text, scale, image_ids=IDS)
        assert torch.allclose(soft(normalize(image, dim=1), 7 * text, scale, image_ids=IDS), plain, atol=1e-6)


def test_half_precision_is_compared_in_float32(service):
    image, text, scale, _ = features()
    with Service(service.url) as client, torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss_of("sm", client)(image.bfloat16(), text.bfloat16(), 9.0, image_ids=IDS)
        wide = loss_of("sm", client)(image.bfloat16().float(), text.bfloat16().float(), scale, image_ids=IDS)
    assert found.dtype == torch.float32
    assert torch.equal(found, wide)


def test_targets_may_be_given_as_a_matrix_or_its_values_and_the_loss_as_open_clips_trainer_wants_it(service):
    given = features()[:3]
    with Service(service.url) as client:
        soft = loss_of("sm", client)
        matrix, plain = soft.ask(IDS), soft(*given, image_ids=IDS)
    lonely = SoftTargetLoss("sm")
    assert torch.equal(lonely(*given, targets=matrix), plain)
    assert torch.equal(lonely(*given, targets=torch.from_numpy(matrix.values)), plain)
    assert lonely(*given, targets=matrix, output_dict=True) == {"soft_target_loss": plain}


def test_what_is_asked_for_goes_to_the_source(service):
    with Service(service.url) as client:
        SoftTargetLoss("mse", client, knowledge="dk", representation="noise", dtype="float16").ask(IDS)
    wanted = {"knowledge": "dk", "representation": "noise", "dtype": "float16", "output": "similarity", "column_ids": IDS}
    assert wanted.items() <= service.asked[-1].items()


class Own:
    """A source of one's own."""

    def targets(self, image_ids, column_ids, *, output):
        same = np.equal.outer(np.array(image_ids), np.array(column_ids)).astype(np.float32)
        return TargetMatrix(output, same, np.ones(len(column_ids), bool), np.zeros(len(column_ids), bool), {})


def test_a_source_of_ones_own_will_do():
    given = features()
    assert torch.allclose(SoftTargetLoss("sm", Own())(*given, image_ids=IDS), SoftTargetLoss("infonce")(*given), atol=1e-6)


def test_batches_come_in_order_with_their_targets_and_are_asked_for_ahead(service):
    batches = [(number, IDS[number : number + 4]) for number in range(8)]
    taken = []

    def loader():
        for batch in batches:
            taken.append(batch[0])
            yield batch

    with Service(service.url) as client:
        soft = loss_of("sm", client)
        found = soft.prefetched(loader(), ids=itemgetter(1), ahead=3)
        first = next(found)
        assert taken == [0, 1, 2, 3]
        rest = list(found)
        for (batch, matrix), expected in zip([first, *rest], batches, strict=True):
            assert batch == expected
            assert np.array_equal(matrix.values, client.targets(batch[1], parameters=TargetParameters(**SHAPE)).values)


def test_a_loop_that_ends_early_leaves_no_thread(service):
    before = threading.active_count()
    with Service(service.url) as client:
        for _ in loss_of("sm", client).prefetched([IDS] * 20, ids=lambda batch: batch):
            break
    assert "prefetch" not in {thread.name for thread in threading.enumerate()}
    assert threading.active_count() <= before + 1  # the service has one for each connection


def test_a_service_that_dies_ends_the_loop_at_the_batch_that_lacks_targets(service):
    seen = []

    def train(client):
        for batch, _ in loss_of("sm", client).prefetched(range(12), ids=lambda number: IDS[number : number + 4], ahead=2):
            seen.append(batch)
            if batch == 4:
                service.stop()

    with Service(service.url, give_up_after=0.3) as client, pytest.raises(ServiceAway):
        train(client)
    assert seen[:5] == [0, 1, 2, 3, 4]
    assert len(seen) <= 8


def test_a_batch_with_an_image_that_the_snapshot_lacks_raises_at_its_turn(service):
    batches = [IDS[:4], IDS[4:8], ["id30", "id1"], IDS[:4]]
    seen = []
    with Service(service.url) as client, pytest.raises(UnknownImages, match="id30"):
        seen.extend(batch for batch, _ in loss_of("sm", client).prefetched(batches, ids=lambda batch: batch))
    assert seen == batches[:2]


def test_infonce_asks_nobody(service):
    with Service(service.url) as client:
        soft = SoftTargetLoss("infonce", client)
        assert list(soft.prefetched([IDS], ids=lambda batch: batch)) == [(IDS, None)]
        soft(*features(), image_ids=IDS)
    assert service.asked == []


def test_targets_that_infonce_does_not_read_are_refused():
    with pytest.raises(InvalidInput, match="infonce compares with one-hot rows, and got targets"):
        SoftTargetLoss("infonce")(*features(), targets=torch.eye(16))


@pytest.mark.parametrize(("settings", "message"), [({"ahead": 0}, "^ahead=0"), ({"ids": 2}, "^ids is 2, no function of a batch")])
def test_what_can_not_be_prefetched_is_refused_at_once(settings, message):
    with pytest.raises(InvalidInput, match=message):
        SoftTargetLoss("sm", Own()).prefetched([IDS], **{"ids": list} | settings)


def test_ids_may_be_a_generator():
    given = features()
    soft = SoftTargetLoss("sm", Own())
    assert torch.equal(soft(*given, image_ids=iter(IDS)), soft(*given, image_ids=IDS))
    assert [len(matrix.values) for _, matrix in soft.prefetched([IDS], ids=iter)] == [16]


MATRIX = TargetMatrix("similarity", np.eye(16, dtype=np.float32), np.ones(16, bool), np.zeros(16, bool), {})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "got no targets. pass image_ids=… or targets=…"),
        ({"image_ids": IDS}, "has no source"),
        ({"targets": MATRIX}, "compares with targets, not with similarity. ask for output='targets'"),
        ({"targets": torch.eye(15)}, r"targets of shape \[15, 15\] for 16 pairs on each of 1 ranks"),
        ({"image_ids": list(range(16))}, r"image_ids\[0\] is 0, which is no string"),
        ({"image_ids": "id0"}, "image_ids is 'id0', not a list of texts"),
        ({"image_ids": IDS, "targets": torch.eye(16)}, "got both image_ids and targets"),
        ({"targets": np.eye(16)}, "targets is of type ndarray; .*torch.as_tensor"),
        ({"targets": [[1.0]]}, "targets is of type list"),
        ({"targets": torch.full((16, 16), float("nan"))}, "targets hold what is no finite number; rows"),
        ({"image_features": np.ones((16, 8)), "targets": torch.eye(16)}, "image_features is of type ndarray; a tensor"),
        ({"text_features": torch.ones(15, 8), "targets": torch.eye(16)}, r"\[16, 8\], text features of \[15, 8\]"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    image, text, scale, _ = features()
    with pytest.raises(InvalidInput, match=message):
        SoftTargetLoss("sm")(**{"image_features": image, "text_features": text, "logit_scale": scale} | given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "hinge"}, "name='hinge'. one of infonce, sm, mse, sigmoid_soft, sigmoid_fff"),
        ({"mse_on": "cosines"}, "mse_on='cosines'. one of cos, prob"),
        ({"diagonal_weight": 1.5}, "diagonal_weight=1.5. from 0 to 1"),
        ({"threshold": -2}, "threshold=-2. from -1 to 1"),
        ({"threshold": 0.3}, "threshold=0.3 is a setting of sigmoid_fff, not of sm; leave it out"),
        ({"name": "sigmoid_fff", "mse_on": "prob"}, "mse_on=prob is a setting of mse, not of sigmoid_fff"),
        ({"name": "infonce", "diagonal_weight": None}, "diagonal_weight=None is a setting of mse, not of infonce"),
        ({"source": "http://127.0.0.1:8080"}, r"source is 'http://127.0.0.1:8080', which gives no targets; Service\(URL\)"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(settings, message):
    with pytest.raises(InvalidInput, match=message):
        SoftTargetLoss(**settings)


def test_an_argument_that_the_source_lacks_is_refused_at_once(service):
    with Service(service.url) as client, pytest.raises(TypeError, match="knowlege"):
        SoftTargetLoss("sm", client, knowlege="dk")


def test_its_names_are_the_trainers():
    assert {case.split()[0] for case in CASES} == set(LOSSES)
    defaults = {name: LOSSES[name]().model_dump(exclude={"name"}) for name in LOSSES}
    for name, settings in defaults.items():
        soft = SoftTargetLoss(name)
        assert {key: getattr(soft, key) for key in settings} == settings
