import pytest
import torch
from nbclip_trainer.optimisation.average import WeightAverage, decay_at
from torch import nn


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Linear(4, 4))


def moved(network, generator):
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))


def test_the_average_is_that_of_the_formula_by_hand():
    """w = 0, 1, 3 with decay .25 that the warm-up does not reach; then one that it holds back at 2/11 and 3/12."""
    network = nn.Linear(1, 1, bias=False)
    for decay, expected in ((0.1, 2.79), (0.9, 0.25 * (9 / 11) + 0.75 * 3)):
        with torch.no_grad():
            network.weight.fill_(0)
        average = WeightAverage(network, decay)
        for step, value in enumerate((1.0, 3.0), 1):
            with torch.no_grad():
                network.weight.fill_(value)
            average.update(step)
        assert average.tensors["weight"].item() == pytest.approx(expected)


def test_the_decay_warms_up():
    assert decay_at(1, 0.999) == 2 / 11
    assert decay_at(8_989, 0.999) < decay_at(8_991, 0.999) == 0.999
    assert decay_at(10**6, 0.999) == 0.999


def test_it_is_of_what_trains_and_of_the_statistics():
    network = model()
    network[2].requires_grad_(False)
    average = WeightAverage(network, 0.5)
    assert average.tensors.keys() == {
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
    }  # fmt: skip


def test_inside_the_model_is_the_average_and_afterwards_itself_whatever_happens():
    network, generator = model(), torch.Generator().manual_seed(1)
    average = WeightAverage(network, 0.5)
    moved(network, generator)
    average.update(1)
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    held = {name: tensor.clone() for name, tensor in average.tensors.items()}
    with average.applied():
        assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in held.items())
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in own.items())
    assert all(torch.equal(average.tensors[name], tensor) for name, tensor in held.items())
    fresh = WeightAverage(network, 0.5)
    fresh.restore(held)
    assert all(torch.equal(fresh.tensors[name], tensor) for name, tensor in held.items())
