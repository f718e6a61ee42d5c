"""Artefacts: opened whole or refused by name."""

import numpy as np
import pytest
from kg_service.storage import artefact as artefacts
from kg_service.storage.arrays import open_array, save_arrays
from kg_service.storage.artefact import open_artefact, open_index, write_manifest, writing_artefact
from kg_service.storage.scratch import CONTENT, FORMER, PREFIX
from nbclip.errors import BrokenArtefact, InvalidInput, NotFound


def write(target, number, **more):
    with writing_artefact(target) as folder:
        save_arrays(folder, {"first": np.full(3, number), "second": np.full((2, 2), number)})
        write_manifest(folder, {"kind": "test", "format": 1, "number": number, **more})


def opened(target, **options):
    return open_artefact(target, "test", 1, hint="build it", **options)


@pytest.fixture
def target(tmp_path):
    write(tmp_path / "target", 1, vocabulary="its sha256")
    return tmp_path / "target"


def numbers(artefact):
    return {artefact.manifest["number"], *(int(value) for array in artefact.arrays.values() for value in array.flat)}


def test_arrays_are_mapped_and_can_not_be_written_to(target):
    artefact = opened(target, verify=True)
    assert (numbers(artefact), sorted(artefact.arrays)) == ({1}, ["first", "second"])
    for array in (*artefact.arrays.values(), open_array(target / "first.npy", whole_below=1 << 14)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 2


@pytest.mark.parametrize("step", ["check_files", "open_arrays"])
def test_one_that_is_replaced_while_it_is_opened_is_opened_again(target, monkeypatch, step):
    real = getattr(artefacts, step)

    def replaced(*arguments, **options):
        monkeypatch.setattr(artefacts, step, real)
        found = real(*arguments, **options)
        write(target, 2)
        return found

    monkeypatch.setattr(artefacts, step, replaced)
    assert numbers(opened(target)) == {2}


def test_one_that_vanishes_while_it_is_opened_is_not_found(target, monkeypatch):
    monkeypatch.setattr(artefacts, "check_files", lambda *_, **__: target.rename(target.with_name("gone")))
    with pytest.raises(NotFound):
        opened(target)


def test_a_replacement_that_was_cut_short_between_its_renames_is_ended_by_who_opens(target, tmp_path):
    write(tmp_path / "newer", 2)
    place = tmp_path / f"{PREFIX}killed"
    (place / FORMER).mkdir(parents=True)
    (tmp_path / "newer").rename(place / CONTENT)
    target.rename(place / FORMER / "target")
    assert numbers(opened(target)) == {2}
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda target: (target / "first.npy").unlink(), "first.npy is missing"),
        (lambda target: (target / "first.npy").write_bytes(b"x"), "first.npy has 1 bytes instead of"),
        (lambda target: (target / "manifest.json").write_text("{}"), "manifest.json is damaged"),
        (lambda target: write(target, 1, kind="other"), "holds other format 1, not test format 1"),
        (lambda target: write(target, 1, format=2), "holds test format 2, not test format 1"),
    ],
)
def test_what_is_wrong_is_named(target, damage, said):
    damage(target)
    with pytest.raises(BrokenArtefact, match=said):
        opened(target)


def test_a_changed_byte_is_found_where_digests_are_asked_for(target):
    content = (target / "first.npy").read_bytes()
    (target / "first.npy").write_bytes(content[:-1] + b"\1")
    opened(target)
    with pytest.raises(BrokenArtefact, match="does not match its SHA-256"):
        opened(target, verify=True)


def test_an_array_that_is_not_there_is_named(target):
    with pytest.raises(BrokenArtefact, match="lacks the array third"):
        opened(target).array("third")


def test_an_index_of_another_vocabulary_is_refused(target):
    assert numbers(open_index(target, "test", 1, "its sha256", hint="")) == {1}
    with pytest.raises(BrokenArtefact, match="index of a vocabulary other than"):
        open_index(target, "test", 1, "another", hint="")


@pytest.mark.parametrize("as_file", [True, False])
def test_what_is_no_artefact_is_not_replaced(tmp_path, as_file):
    target = tmp_path / "mine"
    if as_file:
        target.write_text("text")
    else:
        target.mkdir()
        (target / "file").write_text("text")
    with pytest.raises(InvalidInput, match="not a compiled artefact"):
        write(target, 1)
