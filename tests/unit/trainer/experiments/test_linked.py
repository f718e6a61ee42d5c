"""Labels of the reported pictures that a linker finds, once for all runs of an experiment."""

import json

import pytest
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput
from nbclip_trainer.evaluation.linking import LinkedCuis
from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.layout import Layout
from nbclip_trainer.experiments.linked import link_pictures, linked_by, linked_names

TREE = {"preset": "nbclip-tiny", "linked_cuis": True, "seeds": [1], "arms": {"clip": {"title": "CLIP"}}}


class Linker:
    """Finds a concept for each word of a caption, and keeps what it was asked."""

    def __init__(self, name="one"):
        self.name, self.asked = name, []

    def __call__(self, captions):
        self.asked.append(list(captions))
        cuis = tuple(frozenset(caption.split()[:2]) for caption in captions)
        return LinkedCuis(self.name, "http://here", cuis, {cui: f"name of {cui}" for cui in frozenset().union(*cuis)})


@pytest.fixture
def here(small, metadata, tmp_path):
    def made(**changes):
        return Layout(Grid.model_validate({**TREE, **changes}), tmp_path, tuple(small(data=metadata)))

    return made


def ignore(line):
    pass


def test_captions_of_the_reported_pictures_are_linked_once_and_kept(here):
    linker, layout = Linker(), here()
    link_pictures(layout, linker, ignore)
    assert [len(asked) for asked in linker.asked] == [24], "48 pictures of split retrieval, two of a case and caption"
    link_pictures(layout, linker, ignore)
    assert len(linker.asked) == 1
    found = linked_by(layout.folder)(["MR of the head, case 31", "XR of the head, case 32"])
    names = {cui: f"name of {cui}" for cui in ("MR", "XR", "of")}
    assert found == LinkedCuis("one", "http://here", (frozenset({"MR", "of"}), frozenset({"XR", "of"})), names)


def test_names_that_an_earlier_version_did_not_keep_are_asked_for_and_labels_stay(here):
    layout, linker = here(), Linker()
    link_pictures(layout, linker, ignore)
    path = layout.folder / "linked.json"
    kept = json.loads(path.read_text())
    caption = next(iter(kept["cuis"]))
    path.write_text(json.dumps({"linker": "one", "source": "x", "cuis": {**kept["cuis"], caption: ["C0000001"]}}))
    assert linked_names(layout.folder) == {}
    link_pictures(layout, linker, ignore)
    assert linked_names(layout.folder)["MR"] == "name of MR"
    assert linked_by(layout.folder)([caption]).cuis == (frozenset({"C0000001"}),)


def test_pictures_that_were_added_are_linked_by_the_same_linker_alone(here):
    linker = Linker()
    link_pictures(here(), linker, ignore)
    more = here(sets={"retrieval": {}, "valid": {"split": "valid"}})
    with pytest.raises(Conflict, match="are of the linker one, and the service has two"):
        link_pictures(more, Linker("two"), ignore)
    link_pictures(more, linker, ignore)
    assert [len(asked) for asked in linker.asked] == [24, 6]
    assert len(linked_by(more.folder)(linker.asked[0] + linker.asked[1]).cuis) == 30


def test_a_caption_without_labels_and_a_damaged_file_are_named(here):
    layout = here()
    link_pictures(layout, Linker(), ignore)
    with pytest.raises(InvalidInput, match=r"linked.json: no labels of 'CT of the foot'"):
        linked_by(layout.folder)(["CT of the foot"])
    path = layout.folder / "linked.json"
    path.write_text(json.dumps({"linker": "one", "source": "x"}))
    with pytest.raises(BrokenArtefact, match=r"linked.json: damaged"):
        linked_by(layout.folder)
