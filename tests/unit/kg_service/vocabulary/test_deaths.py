"""A build that is killed at any flush, rename, exchange or removal leaves the former vocabulary or the new one, whole."""

import shutil

import pytest
from kg_service.storage.sweeping import sweep
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from support.counts import often
from support.deaths import deaths_of


@pytest.mark.parametrize("exchanges", [True, False], ids=["exchanges", "renames"])
def test_dying_at_any_write_of_a_build_leaves_the_former_vocabulary_or_the_new_one(
    write_release, memory, record_property, monkeypatch, exchanges
):
    old, new = write_release(MRREL=[]), write_release()
    if not exchanges:
        monkeypatch.setattr("kg_service.storage.replacement.exchange", lambda one, other: False)
    build_vocabulary(old, memory / "old" / "vocabulary")

    def prepare(call):
        data = shutil.copytree(memory / "old", memory / f"died {call}")
        return lambda: build_vocabulary(new, data / "vocabulary")

    edges = []
    for call in deaths_of(prepare, every=often(15, 1)):
        data = memory / f"died {call}"
        edges.append(open_vocabulary(data / "vocabulary", verify=True).manifest["counts"]["is_a"])
        sweep(data)
        assert [path.name for path in data.iterdir()] == ["vocabulary"]
        assert open_vocabulary(data / "vocabulary", verify=True).manifest["counts"]["is_a"] == edges[-1]
        shutil.rmtree(data)
    change = edges.index(5)
    assert edges == [0] * change + [5] * (len(edges) - change)
    assert 0 < change < len(edges)
    record_property("deaths", len(edges))
