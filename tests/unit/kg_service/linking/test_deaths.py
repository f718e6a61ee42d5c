"""Whoever writes an index or a prior and is killed leaves the former one or the new one, whole."""

import shutil

import numpy as np
import pytest
from kg_service.linking.dictionary.name_index import bit_field, build_name_index, open_name_index
from kg_service.linking.dictionary.prior import Prior, open_prior, save_prior
from kg_service.linking.scispacy.trigrams import build_trigram_index, open_trigram_index
from kg_service.storage.sweeping import sweep
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import BrokenArtefact
from support.counts import often
from support.deaths import deaths_of

KEYS = np.array([1, 2], np.uint64)


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    """Two, of a name each."""
    folder = tmp_path_factory.mktemp("vocabularies")
    for name in ("lung", "heart"):
        (folder / name).mkdir()
        (folder / name / "MRCONSO.RRF").write_text(f"C0000001|ENG|P|L1|PF|S1|Y|A1||||MSH|PT|X1|{name}|0|N||\n")
        (folder / name / "MRSTY.RRF").write_text("C0000001|T023|A1|type|AT1||\n")
        (folder / name / "MRREL.RRF").write_text("")
        build_vocabulary(folder / name, folder / f"{name} compiled")
    return [open_vocabulary(folder / f"{name} compiled") for name in ("lung", "heart")]


def prior_of(number):
    shares = np.array([0.5, 0.5], np.float32)
    return Prior(KEYS, bit_field(KEYS), np.arange(3, dtype=np.int32), np.ones(2, np.int32), shares, False, False, float(number))


@pytest.fixture(params=["name index", "3-gram index", "prior"])
def kind(request, vocabularies):
    """Writes number 0 or 1 of a kind into a folder; and opens what is in a folder and says which it is."""
    if request.param == "prior":

        def save(folder, number):
            save_prior(prior_of(number), folder, vocabularies[0], linker="test", captions=1)

        return save, lambda folder: open_prior(folder, vocabularies[0], "test").odds
    build, opened = {
        "name index": (build_name_index, open_name_index),
        "3-gram index": (build_trigram_index, open_trigram_index),
    }[request.param]

    def number_of(folder):
        try:
            opened(folder, vocabularies[0])
        except BrokenArtefact:
            opened(folder, vocabularies[1])
            return 1
        return 0

    return lambda folder, number: build(vocabularies[number], folder), number_of


def test_dying_at_any_write_of_an_index_or_a_prior_leaves_a_whole_one(kind, memory, record_property):
    write, number_of = kind
    write(memory / "old" / "it", 0)

    def prepare(call):
        folder = shutil.copytree(memory / "old", memory / f"died {call}")
        return lambda: write(folder / "it", 1)

    found = []
    for call in deaths_of(prepare, every=often(10, 1)):
        folder = memory / f"died {call}"
        found.append(number_of(folder / "it"))
        sweep(folder)
        assert [path.name for path in folder.iterdir()] == ["it"]
        assert number_of(folder / "it") == found[-1]
    assert found == sorted(found)
    assert set(found) == {0, 1}
    record_property("deaths", len(found))
