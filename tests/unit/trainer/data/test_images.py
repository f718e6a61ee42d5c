import pickle
import shutil

import numpy as np
import pytest
import torch
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.images import completed
from nbclip_trainer.data.planner import BatchPlan, PlannedBatch
from nbclip_trainer.parallel.world import World
from open_clip.transform import PreprocessCfg
from PIL import Image

ON_DISK = ("data.pictures=disk", "augmentation.kind=open_clip")
KINDS = ("affine", "open_clip")
PLACES = (("data.pictures=memory",), ("data.pictures=disk",), ("data.pictures=cache", "data.cache={cache}"))


@pytest.fixture(params=[(place, kind) for place in PLACES for kind in KINDS], ids=lambda both: f"{both[0][0]} {both[1]}")
def overrides(request, tmp_path):
    """Settings of every place of images with every augmentation."""
    place, kind = request.param
    return [f"augmentation.kind={kind}", "data.workers=0", *(each.format(cache=tmp_path / "cache") for each in place)]


@pytest.mark.parametrize("workers", [0, 2])
def test_training_images_depend_on_seed_and_step_alone(write_pairs, load, overrides, workers):
    images = load(read_dataset([write_pairs()]), *overrides, f"data.workers={workers}").images
    plan = BatchPlan(32, 8, 2, 1)
    torch.manual_seed(1)
    straight = [batch.pixels for batch in images.training(plan.batches())]
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = [batch.pixels for batch in images.training(plan.batches(3))]
    assert all(torch.equal(one, other) for one, other in zip(straight[3:], again, strict=True))
    assert torch.equal(torch.get_rng_state(), state), "the run's random state is left alone"
    twice = [PlannedBatch(step, 0, np.arange(8)) for step in (0, 1)]
    first, second = (batch.pixels for batch in images.training(twice))
    assert not torch.allclose(first, second, atol=1e-2), "another step draws other changes"


def test_ranks_together_draw_the_images_of_one_process(write_pairs, load, overrides):
    images = load(read_dataset([write_pairs()]), *overrides).images
    batch = PlannedBatch(4, 0, np.arange(3, 15))
    [whole] = (batch.pixels for batch in images.training([batch]))
    shares = [next(images.training([World(torch.device("cpu"), rank, 3).share(batch)])).pixels for rank in range(3)]
    assert torch.equal(torch.cat(shares), whole)


def test_the_number_of_workers_does_not_change_a_pixel(write_pairs, load):
    dataset = read_dataset([write_pairs()])

    def first_batch(workers):
        images = load(dataset, *ON_DISK, f"data.workers={workers}").images
        return next(images.training([PlannedBatch(0, 0, np.arange(8))])).pixels

    assert torch.equal(first_batch(0), first_batch(2))


def test_an_image_that_goes_missing_during_the_run_is_named(write_pairs, load):
    path = write_pairs()
    images = load(read_dataset([path]), *ON_DISK, "data.workers=0").images
    (path.parent / "3.png").unlink()
    [found] = images.plain([[3]])
    assert found.bad == {3: f"{path.parent}/3.png: No such file or directory"}


def test_a_batch_whose_rows_changed_takes_what_it_has_and_decodes_what_it_lacks(write_pairs, load):
    images = load(read_dataset([write_pairs()]), *ON_DISK, "data.workers=0").images
    batches = [PlannedBatch(2, 0, np.array(rows)) for rows in ([4, 1, 9], [9, 5, 4, 6])]
    before, wanted = images.training(batches)
    asked = []

    def decode(rows):
        asked.append(rows)
        return next(images.training([PlannedBatch(2, 0, np.array(rows))]))

    found = completed([9, 5, 4, 6], before, decode)
    assert asked == [[5, 6]]
    assert found.rows == wanted.rows
    assert torch.equal(found.pixels, wanted.pixels)
    same = completed([4, 1, 9], before._replace(bad={3: "no row of it"}), decode)
    assert same.pixels is before.pixels
    assert same.bad == {}
    told = completed([9, 3, 7, 5], before._replace(bad={3: "cut", 8: "not asked for"}), decode)
    assert (told.rows, told.bad) == ([9, 7, 5], {3: "cut"})


def test_what_is_bad_changes_the_draws_of_no_other_image(write_pairs, load):
    path = write_pairs()
    affine = ("data.pictures=disk", "augmentation.kind=affine", "data.check=none", "data.workers=0")
    images = load(read_dataset([path]), *affine).images
    batch = PlannedBatch(2, 0, np.array([4, 3, 9]))
    whole = next(images.training([batch]))
    (path.parent / "3.png").write_bytes(b"no image")
    found = next(images.training([batch]))
    assert (found.rows, list(found.bad)) == ([4, 9], [3])
    assert torch.equal(found.pixels, whole.pixels[[0, 2]])
    assert torch.equal(next(images.training([PlannedBatch(2, 0, np.array([9, 4]))])).pixels, whole.pixels[[2, 0]])


def test_a_cache_has_the_images_of_memory_and_outlives_their_files(write_pairs, load, tmp_path):
    path = write_pairs()
    (path.parent / "5.png").write_bytes(b"no image")
    dataset, batch = read_dataset([path]), PlannedBatch(1, 0, np.array([7, 2, 9]))
    cached = ("data.pictures=cache", f"data.cache={tmp_path / 'cache'}")
    for kind in KINDS:
        chosen = (f"augmentation.kind={kind}", "data.workers=0")
        memory = load(dataset, "data.pictures=memory", *chosen)
        first = load(dataset, *cached, *chosen)
        assert first.bad == memory.bad
        found, wanted = (next(each.images.training([batch])).pixels for each in (first, memory))
        assert torch.equal(found, wanted)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").glob("*.npy")}
    for file in dataset.files:
        file.unlink()
    again = load(dataset, *cached)
    assert again.bad == memory.bad
    assert len(next(again.images.plain([[1, 2]])).pixels) == 2
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").glob("*.npy")} == before


def test_an_image_that_changed_is_not_taken_from_the_cache(write_pairs, load, tmp_path):
    path = write_pairs()
    dataset, cached = read_dataset([path]), ("data.pictures=cache", f"data.cache={tmp_path / 'cache'}")
    before = next(load(dataset, *cached).images.plain([[0, 1]])).pixels
    shutil.copy(path.parent / "1.png", path.parent / "0.png")
    after = next(load(dataset, *cached).images.plain([[0, 1]])).pixels
    assert not torch.equal(before[0], after[0])
    assert torch.equal(after[0], before[1])
    assert torch.equal(after[1], before[1])


def test_another_size_or_other_pairs_have_another_cache(write_pairs, load, tmp_path):
    cached = ("data.pictures=cache", f"data.cache={tmp_path / 'cache'}")
    dataset = read_dataset([write_pairs()])
    for number, (one, size) in enumerate([(dataset, 32), (dataset, 16), (dataset.take([3, 4]), 32), (dataset, 32)], 1):
        images = load(one, *cached, preprocess=PreprocessCfg(size=size, resize_mode="squash")).images
        assert next(images.plain([[0, 1]])).pixels.shape == (2, 3, size, size)
        assert len(list((tmp_path / "cache").glob("*.npy"))) == min(number, 3)


def test_kept_images_go_to_other_processes_as_the_name_of_their_file(write_pairs, load, tmp_path):
    dataset = read_dataset([write_pairs()])
    stored = load(dataset, "data.pictures=cache", f"data.cache={tmp_path / 'cache'}").images.stored
    assert len(pickle.dumps(stored)) < 1_000
    assert np.array_equal(pickle.loads(pickle.dumps(stored)).pixels, stored.pixels)


def test_a_draft_of_a_large_jpeg_is_nearly_the_image_and_one_of_a_small_jpeg_is_the_image(load, tmp_path):
    grid = np.linspace(0, 8, 300)
    pixels = (127 + 120 * np.sin(grid[:, None] * grid)).astype(np.uint8)
    for name, side in (("large", 300), ("small", 70)):
        Image.fromarray(pixels).convert("RGB").resize((side, side)).save(tmp_path / f"{name}.jpg", quality=95)
    (tmp_path / "pairs.csv").write_text("image_id,file,caption\na,large.jpg,one\nb,small.jpg,two\n")
    dataset = read_dataset([tmp_path / "pairs.csv"])
    for place in ("disk", "memory"):
        whole, draft = (
            next(load(dataset, f"data.pictures={place}", f"data.draft={draft}", "data.workers=0").images.plain([[0, 1]])).pixels
            for draft in (False, True)
        )
        assert torch.equal(whole[1], draft[1])
        assert not torch.equal(whole[0], draft[0])
        assert (whole[0] - draft[0]).abs().mean() < 0.03 * whole[0].std()
