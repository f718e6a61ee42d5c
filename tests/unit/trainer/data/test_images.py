import numpy as np
import pytest
import torch
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.images import completed
from nbclip_trainer.data.planner import BatchPlan, PlannedBatch
from nbclip_trainer.parallel.world import World

ON_DISK = ("data.pictures=disk", "augmentation.kind=open_clip")


@pytest.mark.parametrize("overrides", [(), (*ON_DISK, "data.workers=0"), (*ON_DISK, "data.workers=2")])
def test_training_images_depend_on_seed_and_step_alone(write_pairs, load, overrides):
    images = load(read_dataset([write_pairs()]), *overrides).images
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


@pytest.mark.parametrize("overrides", [(), ON_DISK])
def test_ranks_together_draw_the_images_of_one_process(write_pairs, load, overrides):
    dataset = read_dataset([write_pairs()])
    images = load(dataset, *overrides, "data.workers=0").images
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
