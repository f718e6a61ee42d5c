"""Heads that train on features computed once are the heads that the long way trains."""

import re
import shutil

import numpy as np
import pytest
import torch
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.data.augmentation import augment, draws
from nbclip_trainer.data.seeds import mixed
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.models.projections import unprojected
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.runs.quarantine import read_quarantine
from nbclip_trainer.runs.results import ScoringProtocol, read_scored
from nbclip_trainer.runs.tracking import read_metrics
from nbclip_trainer.training import features as lane
from nbclip_trainer.training.loop import train
from nbclip_trainer.training.session import build_session
from open_clip.modified_resnet import ModifiedResNet
from support.ranks import run_ranks
from support.towers import write_bert, write_open_clip
from support.waiting import StopAfter

LOCKED = ("model.image.unlocked=0", "model.text.unlocked=0", "augmentation.kind=none", "optim.lr=1e-2")
KINDS = {
    "clip": ("tiny-clip", ()),
    "bias": ("tiny-nbclip", ("targets.knowledge=noise", "targets.noise=per_image", "loss.name=sigmoid_soft")),
    "disk": ("tiny-clip", ("data.pictures=disk", "data.workers=0")),
    "chunks, averaged": ("tiny-clip", ("device.chunk_size=3", "optim.ema_decay=0.5")),
    "views": ("tiny-clip", ("augmentation.kind=affine", "augmentation.views=2")),
    "views, disk": ("tiny-clip", ("augmentation.kind=affine", "augmentation.views=1", "data.pictures=disk", "data.workers=0")),
    "dropout": ("tiny-clip", ("model.image.dropout=0.5", "model.text.dropout=0.25")),
    "dropout, chunks": ("tiny-clip", ("model.image.dropout=0.3", "device.chunk_size=3")),
    "views, crops": ("tiny-clip", ("augmentation.kind=open_clip", "augmentation.views=3")),
}
VIEWS = ("augmentation.kind=affine", "augmentation.views=2")


@pytest.fixture
def computed(monkeypatch):
    """The batches of pairs whose features were computed."""
    calls = []
    whole = lane.text_below_projection
    monkeypatch.setattr(lane, "text_below_projection", lambda *given: calls.append(len(given[1])) or whole(*given))
    return calls


def curve(run_dir):
    return [(record["kind"], record["step"], record["loss"]) for record in read_metrics(run_dir) if "loss" in record]


def agree(run_dir, other, **tolerances):
    for mine, theirs in zip(curve(run_dir), curve(other), strict=True):
        assert mine[:2] == theirs[:2]
        assert mine[2] == pytest.approx(theirs[2], rel=1e-5)
    first, second = (load_checkpoint(folder).tensors for folder in (run_dir, other))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], atol=1e-5, rtol=1e-5, equal_nan=True, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_weights_are_those_of_the_long_way(small, tmp_path, kind, computed, caplog):
    preset, more = KINDS[kind]
    settings = small(*LOCKED, *more)
    train(load_config(preset, settings), tmp_path / "long")
    assert not computed
    assert "data.features=FOLDER computes their features once" in caplog.text
    cached = load_config(preset, [*settings, f"data.features={tmp_path / 'features'}"])
    train(cached, tmp_path / "cached")
    assert sum(computed) == 32, "24 to train, 8 to validate, each once"
    agree(tmp_path / "cached", tmp_path / "long")
    moved = curve(tmp_path / "long")
    assert moved[0][2] != pytest.approx(moved[-2][2], rel=1e-3), "weights that never moved would agree too"


@pytest.mark.parametrize("more", [(), VIEWS])
def test_another_run_computes_nothing_and_a_stopped_one_goes_on_bit_for_bit(small, tmp_path, computed, more):
    settings = small(*LOCKED, *more, f"data.features={tmp_path / 'features'}")
    config = load_config("tiny-clip", settings)
    train(config, tmp_path / "straight")
    done = len(computed)
    assert not train(config, tmp_path / "resumed", stop=StopAfter(2)).finished
    assert train(config, tmp_path / "resumed", resume=True).finished
    assert len(computed) == done
    first, second = (load_checkpoint(tmp_path / name).tensors for name in ("straight", "resumed"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert curve(tmp_path / "straight") == curve(tmp_path / "resumed")
    # Another loss and another seed of the batches, but other weights have features of their own.
    train(load_config("tiny-clip", [*settings, "optim.lr=1e-3", "epochs=1"]), tmp_path / "other rate")
    assert len(computed) == done
    train(load_config("tiny-clip", [*settings, "seed=1", "epochs=1"]), tmp_path / "other weights")
    assert len(computed) == 2 * done


def test_it_says_how_far_it_is_and_how_long_it_takes(small, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lane, "_TOLD_EVERY_S", 0)
    train(load_config("tiny-clip", small(*LOCKED, f"data.features={tmp_path / 'features'}", "epochs=1")), tmp_path / "run")
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("features: ")]
    done, total = re.match(r"features: (\d+) of (\d+) images and views, 0 s left$", told[-1]).groups()
    assert done == total != "0"


def test_an_image_that_changed_is_computed_again(small, write_pairs, tmp_path, computed):
    data = write_pairs()
    config = load_config("tiny-clip", small(*LOCKED, f"data.features={tmp_path / 'features'}", "epochs=1", data=data))
    train(config, tmp_path / "run")
    done = len(computed)
    shutil.copy(data.parent / "1.png", data.parent / "0.png")
    train(config, tmp_path / "again")
    assert len(computed) == done + 1, "validation's have not changed"


def test_captions_that_are_cut_elsewhere_are_computed_again(small, tmp_path, computed):
    """A text tower of Hugging Face's has the same weights whatever is read of a caption."""
    text = {"hf_model_name": str(write_bert(tmp_path / "bert")), "hf_tokenizer_name": str(tmp_path / "bert"), "context_length": 6}
    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    write_open_clip(tmp_path / "model", {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text})
    model = ("model.architecture=null", f"model.name='local-dir:{tmp_path / 'model'}'", "epochs=1")
    settings = small(*LOCKED, *model, f"data.features={tmp_path / 'features'}")
    train(load_config("tiny-clip", settings), tmp_path / "run")
    done = len(computed)
    train(load_config("tiny-clip", [*settings, "model.context_length=4"]), tmp_path / "cut")
    assert len(computed) == 2 * done


@pytest.mark.parametrize("more", [(), VIEWS])
def test_a_bad_image_is_left_out_as_on_the_long_way(small, write_pairs, tmp_path, computed, more):
    data = write_pairs()
    (data.parent / "23.png").write_bytes(b"no image")
    settings = small(*LOCKED, *more, "data.max_bad_share=0.1", data=data)
    train(load_config("tiny-clip", settings), tmp_path / "long")
    for run in ("cached", "from the cache"):
        train(load_config("tiny-clip", [*settings, f"data.features={tmp_path / 'features'}"]), tmp_path / run)
        assert read_quarantine(tmp_path / run) == read_quarantine(tmp_path / "long") != []
        agree(tmp_path / run, tmp_path / "long")


def trained(world, config, folder):
    return train(config, folder, world=world).valid_loss


@pytest.mark.parametrize("more", [(), VIEWS])
def test_two_ranks_share_the_work_and_train_the_same(small, tmp_path, more):
    settings = small(*LOCKED, *more)
    config = load_config("tiny-clip", [*settings, f"data.features={tmp_path / 'features'}"])
    first, second = run_ranks(trained, config, tmp_path / "two")
    assert first == second
    train(load_config("tiny-clip", settings), tmp_path / "long")
    agree(tmp_path / "two", tmp_path / "long")


def test_it_is_evaluated_like_any_other(small, metadata, tmp_path, monkeypatch):
    settings = small(*LOCKED, data=metadata)
    protocol = ScoringProtocol(minimum_class_size=4, resamples=100)
    with_it = f"data.features={tmp_path / 'features'}"
    runs = {"long": [], "cached": [with_it], "again": [with_it], "other head": [with_it, "optim.lr=1e-3"]}
    for run, more in runs.items():
        train(load_config("tiny-clip", [*settings, *more]), tmp_path / run)
        if run == "again":
            monkeypatch.setattr(ModifiedResNet, "forward", None)
        if run == "other head":
            monkeypatch.undo()
        evaluate_run(tmp_path / run, protocol=protocol)
    long, *cached = (read_scored(tmp_path / run) for run in runs)
    for scored in cached[:2]:
        for name, features in long.features.items():
            np.testing.assert_allclose(scored.features[name], features, atol=1e-5)
        # Of close cosines, rounding may change the order.
        assert scored.queries.select("query", "metric").equals(long.queries.select("query", "metric"))
    assert cached[0].queries.equals(cached[1].queries)
    other = cached[2].features
    np.testing.assert_allclose(other["backbone"], long.features["backbone"], atol=1e-5)
    assert np.abs(other["image"] - long.features["image"]).max() > 1e-3
    assert len(list((tmp_path / "features/scored").glob("*.npy"))) == 3, "images, captions and pixels, each once"


def test_what_is_scored_is_kept_by_its_content(small, metadata, tmp_path):
    folder = shutil.copytree(metadata.parent, tmp_path / "own")
    settings = small(*LOCKED, f"data.features={tmp_path / 'features'}", "epochs=1", data=folder / metadata.name)
    train(load_config("tiny-clip", settings), tmp_path / "run")
    protocol = ScoringProtocol(minimum_class_size=4, resamples=100)
    evaluate_run(tmp_path / "run", protocol=protocol)
    before = read_scored(tmp_path / "run").features["image"]
    files = sorted(folder.glob("*.png"))
    for file in files[1:]:
        shutil.copy(files[0], file)
    evaluate_run(tmp_path / "run", protocol=protocol)
    after = read_scored(tmp_path / "run").features["image"]
    assert np.abs(after - after[0]).max() < 1e-5
    assert np.abs(before - before[0]).max() > 1e-3
    # In another place, without the folder, it is computed as ever.
    shutil.rmtree(tmp_path / "features")
    evaluate_run(tmp_path / "run", protocol=protocol)
    np.testing.assert_allclose(read_scored(tmp_path / "run").features["image"], after, atol=1e-6)
    assert not (tmp_path / "features").exists()


def test_views_are_those_of_all_seeds_and_each_epoch_draws_among_them(small, tmp_path, computed):
    """By the images themselves, changed as `augment` changes them with draws of view and row, and the tower as it is called."""
    settings = small(*LOCKED, *VIEWS, "epochs=40", f"data.features={tmp_path / 'features'}")
    sessions = [build_session(load_config("tiny-clip", [*settings, f"seed={seed}"])) for seed in (1, 2)]
    first, second = sessions
    plain = build_session(load_config("tiny-clip", small(*LOCKED, "seed=1", "epochs=40")))
    features = first.train.images.features
    assert features.shape[:2] == (3, 24)
    assert second.train.images.features.shape == features.shape
    [pixels] = (batch.pixels for batch in plain.train.images.plain([range(24)]))
    mean, std = (torch.tensor(colours)[:, None, None] for colours in (plain.parts.preprocess.mean, plain.parts.preprocess.std))
    for view in range(3):
        shown = pixels
        if view:
            drawn = torch.cat([draws(1, mixed(view, row)) for row in range(24)], dim=1)
            shown = (augment(pixels * std + mean, first.config.augmentation, drawn) - mean) / std
        with torch.no_grad(), unprojected(first.parts.model.visual):
            wanted = first.parts.model.eval().visual(shown)
        torch.testing.assert_close(features[view], wanted, atol=1e-5, rtol=1e-4)
    seen = [np.full((40, 24), -1) for _ in sessions]
    for session, views in zip(sessions, seen, strict=True):
        held = session.train.images.features
        for batch, decoded in zip(session.plan.batches(), session.train.images.training(session.plan.batches()), strict=True):
            for row, found in zip(batch.rows, decoded.pixels, strict=True):
                [views[batch.epoch, row]] = [view for view in range(3) if torch.equal(held[view, row], found)]
    assert (seen[0] != seen[1]).mean() == pytest.approx(2 / 3, abs=0.1)
    counts = np.apply_along_axis(np.bincount, 0, seen[0], minlength=3)
    assert counts.sum(axis=1) / 960 == pytest.approx(1 / 3, abs=0.1)
    assert counts.min() > 0, "each image is seen in each view"


def test_views_of_pretrained_towers_are_shared_by_runs_of_all_seeds(small, tmp_path, computed):
    settings = small(*LOCKED, *VIEWS, "epochs=1")
    train(load_config("tiny-clip", settings), tmp_path / "pretrained")
    settings = [*settings, f"model.pretrained={tmp_path / 'pretrained'}", f"data.features={tmp_path / 'features'}"]
    for seed in (1, 2):
        train(load_config("tiny-clip", [*settings, f"seed={seed}"]), tmp_path / f"run {seed}")
    assert sum(computed) == 32
    train(load_config("tiny-clip", [*settings, "augmentation.degrees=20"]), tmp_path / "turned")
    assert sum(computed) == 32 + 24, "validation's are not changed"


def test_a_resumed_run_takes_the_features_of_its_own_towers(small, tmp_path, computed):
    """Its towers came from elsewhere: built anew without their weights they would see something else."""
    train(load_config("tiny-clip", small("seed=7", "epochs=1")), tmp_path / "elsewhere")
    towers = (f"model.pretrained={tmp_path / 'elsewhere'}", *LOCKED, f"data.features={tmp_path / 'features'}")
    config = load_config("tiny-clip", small(*towers))
    assert train(config, tmp_path / "straight").finished
    del computed[:]
    assert not train(config, tmp_path / "resumed", stop=StopAfter(2)).finished
    shutil.rmtree(tmp_path / "elsewhere")
    assert train(config, tmp_path / "resumed", resume=True).finished
    assert not computed
    first, second = (load_checkpoint(tmp_path / name).tensors for name in ("straight", "resumed"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_projections_that_start_at_components_do_so_on_all_ranks_and_not_again_on_resume(small, tmp_path):
    settings = small(*LOCKED, "model.image.start=pca", "model.text.start=pca", f"data.features={tmp_path / 'features'}")
    config = load_config("tiny-clip", settings)
    session = build_session(config)
    for feature_NE, weight_ED in (
        (session.train.images.features[0], session.parts.model.visual.attnpool.c_proj.weight.T),
        (session.train.tokens[:], session.parts.model.text_projection),
    ):
        variance = feature_NE.T.cov()
        torch.testing.assert_close(weight_ED.T @ weight_ED, torch.eye(weight_ED.shape[1]), atol=1e-4, rtol=0)
        held = weight_ED.T @ variance @ weight_ED
        torch.testing.assert_close(held.diag(), torch.linalg.eigvalsh(variance).flip(0)[: len(held)], atol=1e-4, rtol=1e-3)
    train(config, tmp_path / "straight")
    run_ranks(trained, config, tmp_path / "two")
    agree(tmp_path / "two", tmp_path / "straight")
    train(config, tmp_path / "resumed", stop=StopAfter(2))
    train(config, tmp_path / "resumed", resume=True)
    first, second = (load_checkpoint(tmp_path / name).tensors for name in ("straight", "resumed"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("model.image.unlocked=1", "set model.image.unlocked=0, not 1"),
        ("model.text.unlocked=null", "set model.text.unlocked=0, not None"),
        ("model.image.lora={}", "which adapters change: leave out model.image.lora"),
        ("augmentation.kind=affine", "set augmentation.views=2, or augmentation.kind=none"),
        ("augmentation.views=2", "needs augmentation.kind=affine or open_clip, not none"),
    ],
)
def test_what_changes_from_epoch_to_epoch_is_refused(small, tmp_path, changed, message):
    with pytest.raises(InvalidInput, match=message):
        load_config("tiny-clip", small(*LOCKED, "data.features=somewhere", changed))


def test_a_folder_that_is_none_or_an_entry_that_is_damaged_is_one_line(small, tmp_path):
    (tmp_path / "file").write_text("")
    settings = small(*LOCKED, "epochs=1")
    with pytest.raises(InvalidInput, match=r"data\.features="):
        train(load_config("tiny-clip", [*settings, f"data.features={tmp_path / 'file'}"]), tmp_path / "run")
    config = load_config("tiny-clip", [*settings, f"data.features={tmp_path / 'features'}"])
    train(config, tmp_path / "good")
    for file in (tmp_path / "features").glob("*/image.f32"):
        file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(BrokenArtefact, match="damaged"):
        train(config, tmp_path / "bad")


def test_a_run_may_go_on_with_the_cache_or_without_it(small, tmp_path):
    settings = small(*LOCKED)
    with_it = [*settings, f"data.features={tmp_path / 'features'}"]
    train(load_config("tiny-clip", settings), tmp_path / "run", stop=StopAfter(2))
    assert train(load_config("tiny-clip", with_it), tmp_path / "run", resume=True).finished
    with pytest.raises(Conflict, match=r"model\.image\.unlocked"):
        train(load_config("tiny-clip", [*settings, "model.image.unlocked=1"]), tmp_path / "run", resume=True)
