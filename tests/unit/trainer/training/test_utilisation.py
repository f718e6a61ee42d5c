from pathlib import Path

import pytest
import torch
from nbclip_trainer.parallel.settings import DeviceSettings
from nbclip_trainer.parallel.world import World
from nbclip_trainer.training.utilisation import Utilisation, peak_memory, peak_tflops

CPU = torch.device("cpu")
GPU = World(torch.device("cuda", 0))


def test_figures_of_a_step_are_of_one_process():
    found = Utilisation(World(CPU, 0, 4), 10**10, 2.0).of(800, 0.5)
    assert found["tflops"] == pytest.approx(4.0)
    assert found["mfu"] == pytest.approx(2.0)
    assert 0.05 < found["peak_memory_gb"] < 500
    assert "mfu" not in Utilisation(World(CPU), 10**10, None).of(800, 0.5)


@pytest.mark.parametrize(
    ("name", "half", "full"),
    [
        ("NVIDIA A100-SXM4-80GB", 312, 19.5), ("NVIDIA H100 80GB HBM3", 989, 67), ("NVIDIA H100 PCIe", 756, 51),
        ("NVIDIA A10G", 70, 35), ("NVIDIA A10", 125, 31.2), ("NVIDIA L40S", 362, 91.6), ("NVIDIA L4", 121, 30.3),
        ("Tesla V100-SXM2-32GB", 125, 15.7), ("Tesla T4", 65, 8.1), ("NVIDIA GH200 480GB", 989, 67), ("Unheard of", None, None),
    ],
)  # fmt: skip
def test_the_peak_is_of_the_gpu_and_the_precision(monkeypatch, name, half, full):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_tflops(GPU, DeviceSettings()) == half
    assert peak_tflops(GPU, DeviceSettings(precision="fp32")) == full
    assert peak_tflops(World(CPU), DeviceSettings(precision="bf16")) is None


def test_peak_memory_of_a_cpu_is_that_of_the_process():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    assert peak_memory(CPU) == pytest.approx(int(line.split()[1]) * 1024, rel=0.05)
