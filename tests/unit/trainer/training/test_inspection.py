"""`inspect_targets`: the batches and rows of a run, summed up by a computation of its own."""

import numpy as np
import polars as pl
import pytest
from nbclip.errors import InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.training.inspection import inspect_targets
from nbclip_trainer.training.session import build_session
from nbclip_trainer.training.step import train_step

LABELS = {"knowledge": "labels"}
NOISE = {"knowledge": "noise", "noise": "per_image", "floor": -1}


def config(metadata, **targets):
    settings = {"epochs": 2, "batch_size": 16, "data": {"files": [metadata], "pictures": "memory", "workers": 0}}
    architecture = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1},
    }
    model, device = {"name": "tiny", "architecture": architecture}, {"name": "cpu", "threads": 1}
    return TrainConfig(**settings, model=model, device=device, loss={"name": "sm"}, targets=targets)


@pytest.fixture(scope="module")
def found(metadata):
    return inspect_targets([("labels", config(metadata, **LABELS)), ("noise", config(metadata, **NOISE))])


def test_the_rows_are_those_that_a_run_trains_on(metadata, found):
    """Purity of the rows that `train_step` took, by plain loops over the table."""
    session = build_session(config(metadata, **NOISE))
    table = {row["image_id"]: row for row in pl.read_csv(metadata).iter_rows(named=True)}
    purities, chances = [], []
    for batch in list(session.plan.batches())[:3]:
        images = next(session.train.images.training([batch])).pixels
        rows = train_step(session, batch, images, session.answer(batch)).targets.rows.numpy()
        taken = [table[image_id] for image_id in session.train.dataset.values("image_id", batch.rows)]
        for i, own in enumerate(taken):
            others = [j for j, other in enumerate(taken) if other["caption"] != own["caption"]]
            same = [j for j in others if taken[j]["modality"] == own["modality"]]
            purities.append(rows[i, same].sum() / rows[i, others].sum())
            chances.append(len(same) / len(others))
    [modality] = [one for one in found.sources[1].purity if one.column == "modality"]
    assert modality.purity.value == pytest.approx(np.mean(purities), abs=1e-5)
    assert modality.purity.low < modality.purity.value < modality.purity.high
    assert modality.chance == pytest.approx(np.mean(chances))
    assert (found.batches, found.rows, modality.purity.rows) == (3, 48, 48)


def test_true_labels_are_pure_and_noise_is_as_pure_as_even_neighbours(found):
    labels, noise = found.sources
    both = next(one for one in labels.purity if one.column == "modality_organ")
    assert both.purity.value > 3 * both.chance
    for one in noise.purity:
        assert one.purity.value == pytest.approx(one.chance, abs=0.06)
    assert (labels.without_knowledge, labels.without_neighbours) == (0, 0)
    assert noise.neighbour_mass == pytest.approx(0.3, abs=1e-4)
    assert noise.effective_neighbours == pytest.approx(8, abs=0.1)


def test_change_is_among_the_seeds_of_a_source_and_between_sources(metadata):
    same = config(metadata, **LABELS)
    named = [("a", same), ("b", same), ("a", config(metadata, **NOISE))]
    changes = {(one.first, one.second): one for one in inspect_targets(named, batches=2).changes}
    assert set(changes) == {("a", "a"), ("a", "b")}
    between, seeds = changes["a", "b"], changes["a", "a"]
    assert (seeds.pairs, between.pairs) == (1, 2)
    # One of a's two seeds is b.
    assert between.change.value == pytest.approx(seeds.change.value / 2)


def test_plain_clip_has_no_neighbours_and_so_no_purity(metadata):
    [clip] = inspect_targets([("clip", config(metadata))]).sources
    assert (clip.without_knowledge, clip.without_neighbours, clip.neighbour_mass) == (1, 1, 0)
    assert clip.effective_neighbours is None
    assert all(one.purity.value is one.purity.low is one.chance is None for one in clip.purity)


def test_data_without_classes_are_refused(small):
    with pytest.raises(InvalidInput, match="nothing that rows could be pure by"):
        inspect_targets([("clip", load_config("tiny-clip", small()))])
