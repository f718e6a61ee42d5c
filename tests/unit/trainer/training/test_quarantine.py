import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.parallel.world import World
from nbclip_trainer.runs.quarantine import Quarantined
from nbclip_trainer.training.quarantine import Quarantine

ALONE = World(torch.device("cpu"))


@pytest.fixture
def dataset(write_pairs):
    return read_dataset([write_pairs()], "train")


def test_what_is_found_is_kept_once_by_row_and_by_id(dataset):
    quarantine = Quarantine(dataset, 0.2, ALONE)
    before = quarantine.bad
    [first] = quarantine.add({3: "cut off"}, 7)
    assert (first.image_id, first.split, first.step, first.reason) == ("id3", "train", 7, "cut off")
    assert first.place.endswith("pairs.csv:5")
    assert [one.image_id for one in quarantine.add({3: "cut off", 8: "gone"}, 9)] == ["id8"]
    assert quarantine.bad == {3: "cut off", 8: "gone"}
    assert before == {}, "threads plan by what they were given"


def test_it_goes_on_from_what_the_run_knew_of_this_split(dataset):
    known = [
        Quarantined(image_id=image_id, split=None, step=2, place="old.csv:1", reason="cut")
        for image_id in ("id30", "id5", "gone")
    ]
    quarantine = Quarantine(dataset, 0.2, ALONE, known)
    assert quarantine.bad == {5: "cut"}
    assert quarantine.held == known[1:2]
    assert quarantine.add({5: "cut"}, 4) == []


def test_beyond_the_share_nothing_is_taken_in(dataset):
    """Three of 24 are an eighth."""
    quarantine = Quarantine(dataset, 1 / 8, ALONE)
    quarantine.add({0: "a", 1: "b"}, 0)
    with pytest.raises(InvalidInput, match=r"4 of 24 images can't be decoded, more than data\.max_bad_share=0\.125; .*:4: c"):
        quarantine.add({2: "c", 3: "d"}, 5)
    assert list(quarantine.bad) == [0, 1]
    quarantine.add({2: "c"}, 5)
    assert list(quarantine.bad) == [0, 1, 2]


def test_a_run_that_knows_of_more_than_it_now_may_goes_on_until_it_finds_another(dataset):
    known = [Quarantined(image_id=f"id{row}", split="train", step=0, place="p:1", reason="cut") for row in range(3)]
    quarantine = Quarantine(dataset, 0.01, ALONE, known)
    quarantine.add({0: "cut"}, 0)
    with pytest.raises(InvalidInput, match="4 of 24"):
        quarantine.add({9: "cut"}, 0)
