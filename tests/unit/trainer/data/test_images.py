import numpy as np
import pytest
import torch
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.planner import BatchPlan, PlannedBatch
from nbclip_trainer.errors import BadImage
from nbclip_trainer.parallel.world import World

ON_DISK = ("data.pictures=disk", "augmentation.kind=open_clip")


@pytest.mark.parametrize("overrides", [(), (*ON_DISK, "data.workers=0"), (*ON_DISK, "data.workers=2")])
def test_training_images_depend_on_seed_and_step_alone(write_pairs, load, overrides):
    images = load(read_dataset([write_pairs()]), *overrides).images
    plan = BatchPlan(32, 8, 2, 1)
    torch.manual_seed(1)
    straight = list(images.training(plan.batches()))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = list(images.training(plan.batches(3)))
    assert all(torch.equal(one, other) for one, other in zip(straight[3:], again, strict=True))
    assert torch.equal(torch.get_rng_state(), state), "the run's random state is left alone"
    twice = [PlannedBatch(step, 0, np.arange(8)) for step in (0, 1)]
    first, second = images.training(twice)
    assert not torch.allclose(first, second, atol=1e-2), "another step draws other changes"


@pytest.mark.parametrize("overrides", [(), ON_DISK])
def test_ranks_together_draw_the_images_of_one_process(write_pairs, load, overrides):
    dataset = read_dataset([write_pairs()])
    images = load(dataset, *overrides, "data.workers=0").images
    batch = PlannedBatch(4, 0, np.arange(3, 15))
    [whole] = images.training([batch])
    shares = [next(images.training([World(torch.device("cpu"), rank, 3).share(batch)])) for rank in range(3)]
    assert torch.equal(torch.cat(shares), whole)


def test_the_number_of_workers_does_not_change_a_pixel(write_pairs, load):
    dataset = read_dataset([write_pairs()])

    def first_batch(workers):
        images = load(dataset, *ON_DISK, f"data.workers={workers}").images
        return next(images.training([PlannedBatch(0, 0, np.arange(8))]))

    assert torch.equal(first_batch(0), first_batch(2))


def test_an_image_that_goes_missing_during_the_run_is_named(write_pairs, load):
    path = write_pairs()
    images = load(read_dataset([path]), *ON_DISK, "data.workers=0").images
    (path.parent / "3.png").unlink()
    with pytest.raises(BadImage, match=r"3\.png"):
        list(images.plain([[3]]))
