"""A graph that goes from one store to another, or into files, is the same graph there."""

from contextlib import closing
from itertools import count

import numpy as np
import polars as pl
import pytest
from kg_service.graph import open_store
from kg_service.graph.exports.parquet import export_parquet
from kg_service.graph.exports.tables import each_concept_once
from kg_service.graph.exports.transfer import copy
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, GraphCounts, ImageNode, IsAEdge
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot.publication import publish
from nbclip.errors import Conflict
from nbclip.ids import caption_sha256
from support.graphs import RELATIONS, nasty_graph

CUI = "C0000001"


@pytest.fixture
def new_embedded(tmp_path):
    """Opens embedded stores, each of its own, and closes them."""
    numbers, opened = count(), []

    def new(*batches):
        store = open_store(str(tmp_path / f"{next(numbers)}.sqlite"))
        opened.append(store)
        for batch in batches:
            store.write(batch)
        return store

    yield new
    for store in opened:
        store.close()


def batch(*images):
    return GraphBatch(images, [ConceptNode(CUI, "Pneumonia")])


def image(image_id, caption="a caption", **fields):
    return ImageNode(image_id, caption, (AttributeEdge(CUI),), **fields)


def everything(store):
    """The whole of a small graph, in an order that all stores have."""
    whole = list(each_concept_once(store.batches()))
    return (
        sorted(concept for part in whole for concept in map(plain, part.concepts)),
        sorted(edge for part in whole for edge in map(plain, part.is_a)),
        [node for part in whole for node in part.images],
        sorted(edge for part in whole for edge in map(plain, part.relations)),
    )


def plain(node):
    return tuple(getattr(node, name) for name in node.__slots__)


def assert_same(store, other):
    assert everything(store) == everything(other)
    assert store.counts() == other.counts()
    graph, other_graph = store.read_graph(), other.read_graph()
    for name in {*graph.__slots__} - {"revision", "relations"}:
        np.testing.assert_array_equal(getattr(graph, name), getattr(other_graph, name))
    one, two = ({name: edges.tolist() for name, edges in each.relations.items()} for each in (graph, other_graph))
    assert one == two


def test_a_copy_there_and_back_is_the_same_graph(store, new_embedded):
    source, back = new_embedded(nasty_graph()), new_embedded()
    report = copy(source, store)
    assert report.complete
    assert report.outcomes == {"created": 15}
    assert report.source == report.target == source.counts()
    assert_same(store, source)
    assert copy(store, back).complete
    assert_same(back, source)


def test_a_graph_and_its_copy_publish_the_same_snapshot(store, new_embedded, tmp_path):
    source = new_embedded(nasty_graph())
    copy(source, store)
    vocabulary = {"release": "made"}
    ids = [
        publish(graph, tmp_path / "snapshots", vocabulary=vocabulary, representations={"hybrid": Hybrid()})
        for graph in (source, store)
    ]
    assert ids[0] == ids[1]


def test_copying_again_changes_nothing(store, new_embedded):
    source = new_embedded(nasty_graph())
    copy(source, store)
    before = everything(store)
    report = copy(source, store)
    assert report.complete
    assert report.outcomes == {"unchanged": 15}
    assert everything(store) == before


class Interrupted(Exception):
    pass


def test_an_interrupted_copy_goes_on(store, new_embedded):
    source = new_embedded(batch(*(image(f"{number:05}") for number in range(5_005))))

    def stop(images):
        if images:
            raise Interrupted

    with pytest.raises(Interrupted):
        copy(source, store, on_images=stop)
    assert store.counts().images == 5_000
    seen = []
    report = copy(source, store, on_images=seen.append)
    assert report.complete
    assert report.outcomes == {"unchanged": 5_000, "created": 5}
    assert seen[-2:] == [5_000, 5_005]


def test_other_content_of_the_target_is_named_or_replaced(store, new_embedded):
    source = new_embedded(batch(image("a"), image("b", dataset="roco"), image("c")))
    store.write(batch(image("a", "another"), image("b"), image("c")))
    report = copy(source, store)
    assert not report.complete
    assert report.outcomes == {"rejected": 2, "unchanged": 1}
    assert report.differences == ("a: stored before with another caption", "b: stored before with another dataset")
    replaced = copy(source, store, on_conflict="replace")
    assert replaced.complete
    assert (replaced.outcomes, replaced.differences) == ({"replaced": 2, "unchanged": 1}, ())
    assert store.images(limit=2) == source.images(limit=2)


def test_a_target_with_other_images_is_refused_or_keeps_and_names_them(store, new_embedded):
    source = new_embedded(batch(image("b")))
    store.write(batch(*(image(f"a{number:02}") for number in range(30))))
    before = everything(store)
    with pytest.raises(Conflict, match="has 30 images that the source lacks, nothing was copied: a00, a01") as refused:
        copy(source, store)
    assert "--merge" in refused.value.hint
    assert everything(store) == before
    report = copy(source, store, merge=True)
    assert not report.complete
    assert report.differences == tuple(f"a{number:02}: in the target only" for number in range(20))
    assert (report.source.images, report.target.images) == (1, 31)


def test_concepts_and_is_a_that_the_target_has_more_are_counted(store, new_embedded):
    source = new_embedded(batch(image("a")))
    store.write(GraphBatch(concepts=[ConceptNode(CUI, ""), ConceptNode("C2", "")], is_a=[IsAEdge(CUI, "C2")]))
    report = copy(source, store)
    assert not report.complete
    assert (report.source, report.target) == (GraphCounts(1, 1, 1, 0), GraphCounts(1, 2, 1, 1))


def test_parquet_holds_the_graph(store, tmp_path):
    store.write(nasty_graph())
    seen = []
    assert export_parquet(store, tmp_path / "out", on_images=seen.append) == store.counts()
    assert seen[-1] == 15
    concepts, is_a, images, relations = everything(store)
    assert table(tmp_path, "images") == [
        (node.image_id, node.caption, caption_sha256(node.caption), node.dataset, node.split, node.ingested_at) for node in images
    ]
    assert table(tmp_path, "attributes") == [(node.image_id, *plain(edge)) for node in images for edge in node.attributes]
    assert sorted((cui, name, tuple(types), source) for cui, name, types, source in table(tmp_path, "concepts")) == concepts
    assert sorted(table(tmp_path, "is_a")) == is_a
    assert sorted(table(tmp_path, "relations")) == relations == sorted(map(plain, RELATIONS))


def table(folder, name):
    return pl.read_parquet(folder / "out" / f"{name}.parquet").rows()


def test_the_files_of_an_empty_graph_have_their_columns(store, tmp_path):
    assert export_parquet(store, tmp_path / "out") == GraphCounts(0, 0, 0, 0)
    frame = pl.read_parquet(tmp_path / "out" / "attributes.parquet")
    assert frame.is_empty()
    assert frame.columns == ["image_id", "cui", "text", "start", "end", "score", "rule", "assertion", "linker"]


def test_a_folder_that_holds_something_is_left_alone(new_embedded, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with closing(new_embedded(nasty_graph())) as store, pytest.raises(Conflict, match="out is not empty"):
        export_parquet(store, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_an_export_that_fails_leaves_nothing(new_embedded, tmp_path):
    def stop(images):
        raise Interrupted

    with pytest.raises(Interrupted):
        export_parquet(new_embedded(nasty_graph()), tmp_path / "exports" / "out", on_images=stop)
    assert list((tmp_path / "exports").iterdir()) == []
