import numpy as np
import pytest
import torch
from nbclip_shared.errors import InvalidInput
from nbclip_trainer.config import DeviceSettings
from nbclip_trainer.distributed import World, alone, autocast

CPU = torch.device("cpu")


def test_ranks_share_a_batch_without_gap_or_overlap():
    rows = np.arange(100, 112)
    worlds = [World(CPU, rank, 3) for rank in range(3)]
    assert np.concatenate([world.own(rows) for world in worlds]).tolist() == rows.tolist()
    for world in worlds:
        assert rows[world.own_columns(12)].tolist() == world.own(rows).tolist()


def test_a_single_process_has_the_whole_batch():
    world = alone(DeviceSettings(name="cpu"))
    assert world.own(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert world.own_columns(5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(InvalidInput, match=r"device\.name"):
        alone(DeviceSettings(name=name))


@pytest.mark.parametrize(("precision", "half"), [("auto", False), ("fp32", False), ("bf16", True)])
def test_half_precision_is_never_chosen_for_a_cpu_by_itself(precision, half):
    with autocast(World(CPU), DeviceSettings(precision=precision)):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if half else torch.float32)
