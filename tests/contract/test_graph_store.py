"""What every graph store must do, checked against graphs written out by hand and against a model made of dicts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kg_service.graph.store import (
    AttributeEdge,
    ConceptNode,
    GraphBatch,
    GraphCounts,
    ImageNode,
    ImageOutcome,
    IsAEdge,
    RelationEdge,
    Revision,
    Wanted,
)
from nbclip.errors import InvalidInput
from nbclip.ids import caption_sha256
from support.counts import often

PNEUMONIA, EFFUSION, LUNG_DISEASE, FRACTURE, DISEASE = (f"C000000{digit}" for digit in range(1, 6))
PARENTS = {PNEUMONIA: [LUNG_DISEASE], LUNG_DISEASE: [DISEASE], EFFUSION: [DISEASE], FRACTURE: [], DISEASE: []}


def image(image_id, *cuis, caption="a caption", **fields):
    return ImageNode(image_id, caption, tuple(AttributeEdge(cui) for cui in cuis), **fields)


def ancestors(cuis):
    return set(cuis).union(*(ancestors(PARENTS.get(cui, [])) for cui in cuis))


def batch(*images):
    """The images with their concepts, all ancestors and is_a."""
    cuis = sorted(ancestors({edge.cui for node in images for edge in node.attributes}))
    concepts = [ConceptNode(cui, f"name of {cui}", ("T047",), "MSH") for cui in cuis]
    return GraphBatch(images, concepts, [IsAEdge(cui, parent, "MSH") for cui in cuis for parent in PARENTS.get(cui, [])])


def outcomes(report):
    return [result.outcome for result in report.outcomes]


def same(graph, other):
    return (
        graph.image_ids == other.image_ids
        and graph.caption_sha256 == other.caption_sha256
        and graph.cuis == other.cuis
        and graph.linkers == other.linkers
        and all(
            np.array_equal(getattr(graph, name), getattr(other, name))
            and getattr(graph, name).dtype == getattr(other, name).dtype
            for name in ("attribute_indptr", "attribute_indices", "is_a")
        )
    )


def rows(graph):
    """Image id to its CUIs, read back from the arrays."""
    bounds = zip(graph.attribute_indptr[:-1], graph.attribute_indptr[1:], strict=True)
    return {
        image_id: [graph.cuis[position] for position in graph.attribute_indices[start:stop]]
        for image_id, (start, stop) in zip(graph.image_ids, bounds, strict=True)
    }


def edges(graph):
    return [(graph.cuis[child], graph.cuis[parent]) for child, parent in graph.is_a]


def content(node):
    return replace(node, ingested_at="")


def test_an_empty_store_has_an_empty_graph(store):
    graph = store.read_graph()
    assert (graph.image_ids, graph.cuis, graph.linkers) == ((), (), ())
    assert graph.attribute_indptr.tolist() == [0]
    assert graph.attribute_indices.shape == (0,)
    assert graph.is_a.shape == (0, 2)
    assert store.counts() == GraphCounts(0, 0, 0, 0)
    assert store.images() == []
    assert store.write(GraphBatch()).outcomes == ()
    store.check()


def test_a_graph_worked_out_by_hand(store):
    store.write(batch(image("b", PNEUMONIA, EFFUSION, caption="both"), image("a", PNEUMONIA), image("e", caption="none")))
    graph = store.read_graph()
    assert graph.image_ids == ("a", "b", "e")
    assert graph.caption_sha256 == tuple(map(caption_sha256, ("a caption", "both", "none")))
    assert graph.cuis == (PNEUMONIA, EFFUSION, LUNG_DISEASE, DISEASE)
    assert graph.attribute_indptr.tolist() == [0, 1, 3, 3]
    assert graph.attribute_indices.tolist() == [0, 0, 1]
    assert graph.is_a.tolist() == [[0, 2], [1, 3], [2, 3]]
    assert (graph.attribute_indptr.dtype, graph.attribute_indices.dtype, graph.is_a.dtype) == (np.int64, np.int32, np.int32)
    assert graph.linkers == ("given",)
    assert store.counts() == GraphCounts(images=3, concepts=4, attributes=3, is_a=3)


def test_an_image_comes_back_as_it_was_written(store):
    attributes = (
        AttributeEdge(PNEUMONIA, "pneumonia", 20, 29, 0.1 + 0.2, "exact", "absent", "dictionary-1"),
        AttributeEdge(EFFUSION, "Erguss", 3, 9, 1.0, "word-order", "uncertain", "dictionary-1"),
        AttributeEdge(LUNG_DISEASE, "Erguss", 3, 9, 0.5),
    )
    node = ImageNode("a", "with 'quotes', tab\t, line\nend and 🫁", attributes, "roco", "train")
    store.write(batch(node))
    stored = store.image("a")
    assert content(stored) == replace(node, attributes=(attributes[1], attributes[2], attributes[0]))
    assert stored.ingested_at.endswith("+00:00")
    assert store.image("b") is None


def test_writing_again_changes_nothing(store):
    first = batch(image("a", PNEUMONIA, EFFUSION), image("b", FRACTURE, dataset="roco", split="train"))
    assert outcomes(store.write(first)) == ["created", "created"]
    before, graph, page = store.counts(), store.read_graph(), store.images()
    assert outcomes(store.write(first)) == ["unchanged", "unchanged"]
    assert outcomes(store.write(first, on_conflict="replace")) == ["unchanged", "unchanged"]
    assert (store.counts(), store.images()) == (before, page)
    assert same(store.read_graph(), graph)


def test_the_order_of_attributes_is_no_content(store):
    store.write(batch(image("a", PNEUMONIA, EFFUSION)))
    assert outcomes(store.write(batch(image("a", EFFUSION, PNEUMONIA, EFFUSION)))) == ["unchanged"]


@pytest.mark.parametrize(
    ("other", "different"),
    [
        (image("a", PNEUMONIA, caption="another"), "caption"),
        (image("a", PNEUMONIA, dataset="roco"), "dataset"),
        (image("a", PNEUMONIA, split="test"), "split"),
        (image("a", EFFUSION), "attributes"),
        (ImageNode("a", "a caption", (AttributeEdge(PNEUMONIA, assertion="absent"),)), "attributes"),
    ],
)
def test_other_content_is_rejected_or_replaces(store, other, different):
    original = image("a", PNEUMONIA)
    store.write(batch(original))
    report = store.write(batch(other, image("b", FRACTURE)))
    assert report.outcomes == (
        ImageOutcome("a", "rejected", f"stored before with another {different}"),
        ImageOutcome("b", "created"),
    )
    assert content(store.image("a")) == original
    assert outcomes(store.write(batch(other), on_conflict="replace")) == ["replaced"]
    assert content(store.image("a")) == other
    assert store.counts().images == 2
    assert store.counts().attributes == 2
    assert store.image_count(PNEUMONIA) == (different in ("caption", "dataset", "split"))


def test_an_id_twice_in_a_batch_is_taken_in_order(store):
    one, two = image("a", PNEUMONIA), image("a", EFFUSION)
    assert outcomes(store.write(batch(one, one, two))) == ["created", "unchanged", "rejected"]
    assert content(store.image("a")) == one
    report = store.write(batch(two, one, two), on_conflict="replace")
    assert outcomes(report) == ["replaced", "replaced", "replaced"]
    assert content(store.image("a")) == two
    assert (store.counts().images, store.counts().attributes) == (1, 1)


def test_of_two_attributes_at_one_place_the_first_counts(store):
    strong, weak = AttributeEdge(PNEUMONIA, score=0.9), AttributeEdge(PNEUMONIA, score=0.2)
    store.write(batch(ImageNode("a", "", (strong, weak))))
    assert store.image("a").attributes == (strong,)


def test_mentions_of_one_concept_are_edges_of_their_own_but_one_entry_of_the_graph(store):
    twice = tuple(AttributeEdge(PNEUMONIA, "pneumonia", start, start + 9) for start in (0, 20))
    store.write(batch(ImageNode("a", "", twice)))
    assert store.image("a").attributes == twice
    assert (store.counts().attributes, store.image_count(PNEUMONIA)) == (2, 1)
    assert rows(store.read_graph()) == {"a": [PNEUMONIA]}


def test_only_present_attributes_count(store):
    node = ImageNode(
        "a",
        "no effusion, perhaps pneumonia, fracture",
        (
            AttributeEdge(EFFUSION, assertion="absent", linker="x"),
            AttributeEdge(PNEUMONIA, assertion="uncertain", linker="y"),
            AttributeEdge(FRACTURE, linker="z"),
        ),
    )
    store.write(batch(node))
    graph = store.read_graph()
    assert (graph.cuis, rows(graph), edges(graph), graph.linkers) == ((FRACTURE,), {"a": [FRACTURE]}, [], ("z",))
    assert [store.image_count(cui) for cui in (EFFUSION, PNEUMONIA, FRACTURE, "C9999999")] == [0, 0, 1, 0]


def test_ancestors_may_come_with_a_later_batch(store):
    alone = batch(image("a", PNEUMONIA))
    store.write(replace(alone, concepts=[ConceptNode(PNEUMONIA, "")], is_a=()))
    assert store.read_graph().cuis == (PNEUMONIA,)
    store.write(alone)
    assert store.read_graph().cuis == (PNEUMONIA, LUNG_DISEASE, DISEASE)
    assert store.counts() == GraphCounts(images=1, concepts=3, attributes=1, is_a=2)


def test_the_same_edge_from_another_source_is_no_second_edge(store):
    pair = [ConceptNode(PNEUMONIA, ""), ConceptNode(LUNG_DISEASE, "")]
    for source in ("MSH", "SNOMEDCT_US", ""):
        store.write(GraphBatch(concepts=pair, is_a=[IsAEdge(PNEUMONIA, LUNG_DISEASE, source)]))
    assert store.counts().is_a == 1


def test_a_cycle_in_is_a_does_no_harm(store):
    pair = [ConceptNode(PNEUMONIA, ""), ConceptNode(DISEASE, "")]
    loop = [IsAEdge(PNEUMONIA, DISEASE), IsAEdge(DISEASE, PNEUMONIA)]
    store.write(GraphBatch([image("a", PNEUMONIA)], pair, loop))
    graph = store.read_graph()
    assert graph.cuis == (PNEUMONIA, DISEASE)
    assert graph.is_a.tolist() == [[0, 1], [1, 0]]


def test_a_part_of_the_graph_by_dataset_and_split(store):
    store.write(
        batch(
            image("a", PNEUMONIA, dataset="roco", split="train"),
            image("b", EFFUSION, dataset="roco", split="test"),
            image("c", FRACTURE, dataset="iu", split="train"),
            image("d", DISEASE),
        )
    )
    train = store.read_graph(split="train")
    assert rows(train) == {"a": [PNEUMONIA], "c": [FRACTURE]}
    assert train.cuis == (PNEUMONIA, LUNG_DISEASE, FRACTURE, DISEASE)
    assert edges(train) == [(PNEUMONIA, LUNG_DISEASE), (LUNG_DISEASE, DISEASE)]
    assert rows(store.read_graph(dataset="roco")) == {"a": [PNEUMONIA], "b": [EFFUSION]}
    both = store.read_graph(dataset="roco", split="test")
    assert (rows(both), both.cuis) == ({"b": [EFFUSION]}, (EFFUSION, DISEASE))
    assert store.read_graph(dataset="none").image_ids == ()
    assert store.read_graph(dataset="").image_ids == ()


def test_the_splits_that_images_have(store):
    assert store.splits() == []
    store.write(batch(image("a", split="train"), image("b", split="Test set"), image("c"), image("d", split="train")))
    assert store.splits() == ["Test set", "train"]


def test_what_was_added_since_a_read_comes_alone(store):
    store.write(batch(image("c", PNEUMONIA, split="train"), image("d", EFFUSION)))
    since = store.read_graph(split="train").revision
    assert store.read_new(since).image_ids == ()
    store.write(batch(image("b", FRACTURE, PNEUMONIA, split="train"), image("a", caption="none"), image("e", PNEUMONIA)))
    new = store.read_new(since)
    assert rows(new) == {"a": [], "b": [PNEUMONIA, FRACTURE], "e": [PNEUMONIA]}
    assert (new.cuis, new.is_a.shape, new.linkers) == ((PNEUMONIA, FRACTURE), (0, 2), ("given",))
    assert new.caption_sha256[0] == caption_sha256("none")
    assert rows(store.read_new(since, split="train")) == {"b": [PNEUMONIA, FRACTURE]}
    assert new.revision == store.read_graph().revision
    store.write(batch(image("f", DISEASE)))
    assert rows(store.read_new(new.revision)) == {"f": [DISEASE]}


def test_what_was_added_is_not_told_apart_where_images_were_removed(store):
    store.write(batch(image("a", PNEUMONIA), image("b", PNEUMONIA)))
    first = store.read_graph().revision
    store.write(batch(image("a", EFFUSION)), on_conflict="replace")
    assert store.read_new(first) is None
    second = store.read_graph().revision
    assert store.read_new(second).image_ids == ()
    store.delete_image("b")
    assert store.read_new(second) is None
    for unknown in (Revision(first.number, second.token), Revision(1_000, first.token), Revision(-1, "")):
        assert store.read_new(unknown) is None


IDS_BY_CODE_POINT = [
    "!",
    "10",
    "9",
    "A",
    "a",
    "a b",
    "e\u0301",
    "z",
    "\u00e9",
    "\u4e2d",
    "\ufb01",
    "\uff5e",
    "\U0001fac1",
    "\U0010ffff",
]


def test_ids_of_any_script_are_ordered_by_code_point(store):
    store.write(batch(*(image(image_id, PNEUMONIA) for image_id in reversed(IDS_BY_CODE_POINT))))
    assert [node.image_id for node in store.images()] == IDS_BY_CODE_POINT
    assert list(store.read_graph().image_ids) == IDS_BY_CODE_POINT
    assert [store.image(image_id).image_id for image_id in IDS_BY_CODE_POINT] == IDS_BY_CODE_POINT
    assert outcomes(store.write(batch(*(image(image_id, PNEUMONIA) for image_id in IDS_BY_CODE_POINT)))) == ["unchanged"] * 14
    assert all(map(store.delete_image, IDS_BY_CODE_POINT))


def test_pages_follow_one_another_without_gap_or_overlap(store):
    store.write(batch(*(image(f"{number:03}", PNEUMONIA, EFFUSION) for number in range(25))))
    seen, after = [], ""
    while page := store.images(after=after, limit=10):
        seen.append(len(page))
        assert all(len(node.attributes) == 2 for node in page)
        assert [node.image_id for node in page] == sorted(node.image_id for node in page)
        assert page[0].image_id > after
        after = page[-1].image_id
    assert seen == [10, 10, 5]
    assert sorted(store.image_ids()) == [f"{number:03}" for number in range(25)]
    assert [node.image_id for node in store.images(after="0045", limit=2)] == ["005", "006"]
    assert store.images(limit=0) == []


SAID = [
    ("a", "Pleural Effusion of the left lung", [AttributeEdge(EFFUSION, "Pleural Effusion", 0, 16, score=0.9, rule="exact")]),
    ("b", "No ÉPANCHEMENT; 100% clear_lung", [AttributeEdge(EFFUSION, "ÉPANCHEMENT", 3, 14, score=0.5, assertion="absent")]),
    ("c", "effusion", [AttributeEdge(EFFUSION), AttributeEdge(FRACTURE, "effusion", 0, 8, score=0.7)]),
    ("d", "", [AttributeEdge(PNEUMONIA)]),
    ("e", "A left effusion", []),
]


def wanted_ids(store, **wanted):
    return "".join(node.image_id for node in store.images(wanted=Wanted(**wanted)))


def test_images_are_found_by_caption_concept_and_score(store):
    nodes = [ImageNode(image_id, caption, tuple(edges)) for image_id, caption, edges in SAID]
    store.write(batch(*nodes))
    for words, found in {
        ("effusion",): "ace",
        ("EFF", "left"): "ae",
        ("épanch",): "b",
        ("0%",): "b",
        ("r_l",): "b",
        ("x",): "",
    }.items():
        assert wanted_ids(store, words=words) == found
    assert wanted_ids(store, cui=EFFUSION) == "abc"
    assert wanted_ids(store, cui=LUNG_DISEASE) == wanted_ids(store, cui="C9999999") == ""
    assert [wanted_ids(store, score_below=score) for score in (0.5, 0.7, 0.71, 1.0)] == ["", "b", "bc", "abc"]
    assert wanted_ids(store, words=("effusion",), cui=EFFUSION, score_below=0.8) == "c"
    assert [node.image_id for node in store.images(wanted=Wanted(cui=EFFUSION), after="a", limit=1)] == ["b"]
    assert [content(node) for node in store.images(wanted=Wanted(cui=FRACTURE))] == [content(store.image("c"))]


def test_a_deleted_image_takes_its_edges_and_leaves_concepts(store):
    store.write(batch(image("a", PNEUMONIA), image("b", PNEUMONIA, FRACTURE)))
    assert store.delete_image("b") is True
    assert store.delete_image("b") is False
    assert store.counts() == GraphCounts(images=1, concepts=4, attributes=1, is_a=2)
    assert (store.image("b"), store.image_count(PNEUMONIA), store.image_count(FRACTURE)) == (None, 1, 0)
    assert store.read_graph().cuis == (PNEUMONIA, LUNG_DISEASE, DISEASE)
    assert outcomes(store.write(batch(image("b", FRACTURE)))) == ["created"]


def test_an_invalid_batch_leaves_nothing(store):
    good = batch(image("a", PNEUMONIA))
    with pytest.raises(InvalidInput, match="C9999999"):
        store.write(replace(good, images=[*good.images, image("b", "C9999999")]))
    with pytest.raises(InvalidInput, match="C9999999"):
        store.write(replace(good, is_a=[IsAEdge(PNEUMONIA, "C9999999")]))
    with pytest.raises(InvalidInput, match="surrogate"):
        store.write(replace(good, images=[image("a", PNEUMONIA), image("b", caption="\ud800")]))
    assert store.counts() == GraphCounts(0, 0, 0, 0)
    assert outcomes(store.write(good)) == ["created"]


def test_concepts_of_any_vocabulary_come_back(store):
    lung, organ, finding = "UBERON:0002048", "RID1301", "900000000000003001"
    concepts = [ConceptNode(cui, f"name of {cui}", ("T023",), "OWN") for cui in (lung, organ, finding)]
    edges = [IsAEdge(lung, organ, "OWN"), RelationEdge(finding, "has_finding_site", lung, "OWN")]
    store.write(GraphBatch([image("a", lung), image("b", finding)], concepts, edges[:1], edges[1:]))
    graph = store.read_graph()
    assert graph.cuis == (finding, organ, lung)
    assert graph.is_a.tolist() == [[2, 1]]
    assert {name: ends.tolist() for name, ends in graph.relations.items()} == {"has_finding_site": [[0, 2]]}
    assert [edge.cui for edge in store.image("a").attributes] == [lung]


def test_text_is_never_taken_for_a_query(store):
    node = image("'; DROP TABLE image; --", PNEUMONIA, caption='"}) DETACH DELETE n //', dataset="' OR 1=1 --")
    store.write(batch(node, image("b")))
    assert content(store.image(node.image_id)) == node
    assert store.read_graph(dataset=node.dataset).image_ids == (node.image_id,)
    assert store.counts().images == 2


def test_the_graph_is_there_after_closing_and_opening(opener):
    first = opener()
    first.write(batch(image("a", PNEUMONIA), image("b", EFFUSION, dataset="roco")))
    graph, page, counts = first.read_graph(), first.images(), first.counts()
    first.close()
    first.close()
    second = opener()
    assert (second.images(), second.counts()) == (page, counts)
    assert same(second.read_graph(), graph)
    second.close()


def test_overlapping_batches_of_eight_threads_leave_no_duplicate(store):
    nodes = [image(f"{number:02}", PNEUMONIA, EFFUSION, FRACTURE) for number in range(40)]

    def write(seed):
        order = np.random.default_rng(seed).permutation(len(nodes))
        return [outcomes(store.write(batch(*(nodes[position] for position in part)))) for part in np.split(order, 8)]

    with ThreadPoolExecutor(8) as pool:
        results = [outcome for reports in pool.map(write, range(8)) for report in reports for outcome in report]
    assert (results.count("created"), results.count("unchanged")) == (40, 280)
    assert store.counts() == GraphCounts(images=40, concepts=5, attributes=120, is_a=3)
    assert store.image_count(PNEUMONIA) == 40


def test_readers_see_whole_transactions_while_another_thread_writes(store):
    done = threading.Event()

    def write():
        for number in range(30):
            store.write(batch(image(f"{number:02}a", PNEUMONIA), image(f"{number:02}b", EFFUSION)))
        done.set()

    def read():
        sizes = []
        while not done.is_set() or not sizes:
            graph = store.read_graph()
            assert len(graph.image_ids) % 2 == 0
            assert len(graph.attribute_indices) == len(graph.image_ids)
            assert graph.cuis in ((), (PNEUMONIA, EFFUSION, LUNG_DISEASE, DISEASE))
            sizes.append(len(graph.image_ids))
        return sizes == sorted(sizes)

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        pool.submit(write).result()
        assert all(reader.result() for reader in readers)


ASSERTIONS = st.sampled_from(["present", "absent", "uncertain"])
SPANS = st.sampled_from([(-1, -1), (0, 4), (5, 9)])
ATTRIBUTES = st.builds(
    lambda cui, span, score, assertion, linker: AttributeEdge(cui, "text", *span, score, "exact", assertion, linker),
    st.sampled_from(sorted(PARENTS)),
    SPANS,
    st.sampled_from([0.0, 0.25, 1.0]),
    ASSERTIONS,
    st.sampled_from(["dictionary-1", "scispacy-1"]),
)
IMAGES = st.builds(
    ImageNode,
    st.sampled_from(["a", "b", "c", "é", "🫁"]),
    st.sampled_from(["one", "two"]),
    st.lists(ATTRIBUTES, max_size=4).map(tuple),
    st.sampled_from([None, "roco", "iu"]),
    st.sampled_from([None, "train", "test"]),
)
PER_EXAMPLE = settings(max_examples=often(25, 100), suppress_health_check=[HealthCheck.function_scoped_fixture])


@PER_EXAMPLE
@given(
    nodes=st.lists(IMAGES, max_size=8, unique_by=lambda node: node.image_id),
    cuts=st.lists(st.integers(0, 8), max_size=3),
    shuffled=st.randoms(use_true_random=False),
)
def test_the_graph_does_not_depend_on_order_or_batches(new_store, nodes, cuts, shuffled):
    def written(parts):
        with closing(new_store()()) as store:
            for part in parts:
                store.write(batch(*part))
            return store.read_graph(), store.read_graph(split="train"), store.counts()

    order = list(nodes)
    shuffled.shuffle(order)
    whole, train, counts = written([nodes])
    other_whole, other_train, other_counts = written(
        order[start:stop] for start, stop in pairwise([0, *sorted(cuts), len(order)])
    )
    assert same(whole, other_whole)
    assert same(train, other_train)
    assert counts == other_counts


WRITES = st.tuples(st.just("write"), st.lists(IMAGES, max_size=4), st.sampled_from(["reject", "replace"]))
DELETES = st.tuples(st.just("delete"), st.sampled_from(["a", "b", "c", "é", "🫁"]), st.none())


@PER_EXAMPLE
@given(steps=st.lists(st.one_of(WRITES, DELETES), max_size=6))
def test_a_store_does_what_a_dict_would(new_store, steps):
    store, model = new_store()(), {}
    for step, argument, on_conflict in steps:
        if step == "delete":
            assert store.delete_image(argument) == (model.pop(argument, None) is not None)
        else:
            expected = [write_to(model, node, on_conflict) for node in argument]
            assert outcomes(store.write(batch(*argument), on_conflict=on_conflict)) == expected
    assert {node.image_id: content(node) for node in store.images()} == model
    present = {image_id: {e.cui for e in node.attributes if e.assertion == "present"} for image_id, node in model.items()}
    graph = store.read_graph()
    assert rows(graph) == {image_id: sorted(present[image_id]) for image_id in sorted(model)}
    assert graph.cuis == tuple(sorted(ancestors(set().union(*present.values()))))
    assert edges(graph) == [(cui, parent) for cui in graph.cuis for parent in PARENTS[cui]]
    assert [store.image_count(cui) for cui in PARENTS] == [sum(cui in cuis for cuis in present.values()) for cui in PARENTS]
    assert store.counts().attributes == sum(len(node.attributes) for node in model.values())
    store.close()


def write_to(model, node, on_conflict):
    places = {(edge.start, edge.end, edge.cui): edge for edge in reversed(node.attributes)}
    node = replace(node, attributes=tuple(edge for _, edge in sorted(places.items(), key=lambda item: item[0])))
    known = model.get(node.image_id)
    if known == node:
        return "unchanged"
    if known is not None and on_conflict == "reject":
        return "rejected"
    model[node.image_id] = node
    return "created" if known is None else "replaced"
