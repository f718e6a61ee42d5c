import json

import pytest
from nbclip.errors import BrokenArtefact, InvalidInput
from nbclip.schemas.snapshots import PublishRequest
from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.recipes import label_edges, needed_snapshots, publish_all, request_of
from nbclip_trainer.experiments.snapshots import Recipe

TREE = {
    "preset": "small",
    "seeds": [1],
    "kg_seeds": [1, 2],
    "choose": {"seeds": [101], "kg_seeds": [9], "settings": {"epochs": [1, 2]}},
    "snapshots": {
        "plain": {"representations": {"hybrid": {}}},
        "noise": {"representations": {"hybrid": {"decay": 0.5}, "noise": {"seed": "kg_seed"}}},
        "labelled": {"is_a": {"labels": ["organ"]}, "split": None, "dataset": "own"},
        "unused": {"is_a": {"shuffled": 3}},
    },
    "arms": {
        "clip": {"title": "CLIP"},
        "dk": {"title": "DK", "snapshot": "plain"},
        "ek": {"title": "EK", "snapshot": "plain"},
        "noise": {"title": "noise", "snapshot": "noise"},
        "labelled": {"title": "labelled", "snapshot": "labelled"},
    },
}
GRID = Grid.model_validate(TREE)


class Service:
    def __init__(self):
        self.asked = []

    def publish(self, body):
        self.asked.append(body)
        return f"{len(self.asked):064x}"


def publish(service, folder, say=lambda line: None):
    return publish_all(GRID, folder, service.publish, lambda columns: [("C0000001", f"C990000{len(columns)}")], say)


def test_each_snapshot_is_published_once_a_kg_seed_and_those_of_the_choice_too(tmp_path):
    service = Service()
    known = publish(service, tmp_path)
    assert list(known) == ["plain", "noise kg_seed=1", "noise kg_seed=2", "noise kg_seed=9", "labelled"]
    assert [body["representations"]["noise"] for body in service.asked[1:4]] == [{"seed": 1}, {"seed": 2}, {"seed": 9}]
    assert service.asked[4] == {"dataset": "own", "is_a": {"edges": [("C0000001", "C9900001")]}, "current": False}


def test_ids_are_kept_and_what_is_known_is_not_published_again(tmp_path):
    first = publish(Service(), tmp_path)
    again = Service()
    assert publish(again, tmp_path) == first
    assert again.asked == []
    del first["noise kg_seed=2"]
    (tmp_path / "snapshots.json").write_text(json.dumps(first))
    publish(again, tmp_path)
    assert [body["representations"]["noise"]["seed"] for body in again.asked] == [2]


def test_a_publication_that_fails_loses_none_before_it(tmp_path):
    class Failing(Service):
        def publish(self, body):
            if len(self.asked) == 2:
                raise InvalidInput("no")
            return super().publish(body)

    with pytest.raises(InvalidInput):
        publish(Failing(), tmp_path)
    assert len(json.loads((tmp_path / "snapshots.json").read_text())) == 2


@pytest.mark.parametrize("text", ["{", '["plain"]', '{"plain": "1"}'])
def test_ids_that_are_damaged_are_named(tmp_path, text):
    (tmp_path / "snapshots.json").write_text(text)
    with pytest.raises(BrokenArtefact, match=r"snapshots.json"):
        publish(Service(), tmp_path)


def test_without_a_choice_no_snapshot_is_published_for_it():
    assert "noise kg_seed=9" not in needed_snapshots(Grid.model_validate({**TREE, "choose": None}))


def test_a_request_leaves_to_the_service_what_the_recipe_does_not_say():
    assert request_of(Recipe(), None, []) == {"split": "train", "current": False}
    shuffled = Recipe.model_validate({"is_a": {"shuffled": "kg_seed"}})
    assert request_of(shuffled, 7, [])["is_a"] == {"shuffled": 7}


def test_a_recipe_is_a_request_that_the_service_takes():
    recipe = Recipe.model_validate(
        {
            "representations": {"both": {"seed": "kg_seed"}},
            "is_a": {"shuffled": 1},
            "relations": {"shuffled": "kg_seed"},
            "concepts": {"rarest": 2},
        }
    )
    assert recipe.has_kg_seed
    body = request_of(recipe, 7, [])
    assert body == {
        "split": "train",
        "representations": {"both": {"seed": 7}},
        "is_a": {"shuffled": 1},
        "relations": {"shuffled": 7},
        "concepts": {"rarest": 2},
        "current": False,
    }
    assert PublishRequest.model_validate(body).model_dump(exclude_none=True) == {**body, "append": False}
    assert not Recipe.model_validate({"concepts": {"rarest": 2}, "relations": {"shuffled": 3}}).has_kg_seed


def test_a_concept_goes_to_the_class_of_its_greatest_lift():
    """By hand: 12 images, 8 head and 4 chest; a in 6 head and 4 chest images has a lift of .9 and 1.2."""
    organ = ["head"] * 8 + ["chest"] * 4
    concepts = [{"C0000001"}] * 6 + [{"C0000002"}] * 2 + [{"C0000001", "C0000003"}] * 4
    assert label_edges(concepts, {"organ": organ}) == [("C0000001", "C9900000")], "chest comes first by name; 2 and 3 are rare"


def test_columns_have_classes_of_their_own_and_unlabelled_images_do_not_count():
    concepts = [{"C0000001"}] * 5 + [{"C0000002"}] * 5 + [{"C0000002"}] * 20
    labels = {"modality": ["CT"] * 5 + ["MR"] * 5 + [None] * 20, "organ": ["head"] * 5 + ["chest"] * 5 + [None] * 20}
    assert label_edges(concepts, labels) == [
        ("C0000001", "C9900000"), ("C0000001", "C9900003"), ("C0000002", "C9900001"), ("C0000002", "C9900002"),
    ]  # fmt: skip


def test_labels_that_no_concept_is_typical_of_are_refused():
    with pytest.raises(InvalidInput, match="no concept of 5 labelled"):
        label_edges([{"C0000001"}] * 10, {"organ": ["head"] * 10})
