import numpy as np
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.errors import RankLost
from nbclip_trainer.parallel.settings import DeviceSettings
from nbclip_trainer.parallel.world import World, alone, autocast, joined, lost_ranks_named

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


def test_a_batch_that_ranks_cannot_share_equally_is_refused():
    World(CPU, 1, 4).check_divides(12)
    with pytest.raises(InvalidInput, match=r"batch_size=10 .* 4 ranks"):
        World(CPU, 1, 4).check_divides(10)


def test_a_rank_knows_where_its_share_of_a_batch_stands():
    batch = PlannedBatch(3, 1, np.arange(20, 32))
    share = World(CPU, 2, 3).share(batch)
    assert (share.step, share.offset, share.global_size, share.rows.tolist()) == (3, 8, 12, [28, 29, 30, 31])


TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
SRUN = {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "2"}


@pytest.mark.parametrize("variables", [{}, {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, {"SLURM_PROCID": "0"}])
def test_a_process_that_no_launcher_started_with_others_is_alone(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with joined(DeviceSettings(name="cpu")) as world:
        assert (world.rank, world.ranks) == (0, 1)


@pytest.mark.parametrize("variables", [TORCHRUN, SRUN])
def test_ranks_that_cannot_find_rank_0_are_told_how(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match="MASTER_ADDR and MASTER_PORT not set") as refused, joined(DeviceSettings(name="cpu")):
        pass
    assert "scontrol" in refused.value.hint


def test_one_gpu_by_number_for_several_ranks_is_refused(monkeypatch):
    for name, value in {**TORCHRUN, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match="one GPU for 2 ranks"), joined(DeviceSettings(name="cuda:1")):
        pass


def test_only_a_lost_rank_is_named_so():
    with pytest.raises(RankLost, match="another rank is gone"), lost_ranks_named():
        raise RuntimeError("[third_party/gloo/transport/tcp/pair.cc:545] Connection reset by peer")
    with pytest.raises(RuntimeError, match="shapes"), lost_ranks_named():
        raise RuntimeError("shapes do not fit")
