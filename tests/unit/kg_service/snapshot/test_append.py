"""Appended snapshots against one table: the same vectors, made by the same frozen tables, in one piece."""

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.cli.shown.console import append_lines
from kg_service.errors import OtherVersion
from kg_service.representations.both import Both
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.transe import TransE
from kg_service.representations.weights import known_attributes
from kg_service.snapshot import (
    SnapshotFolder,
    answer_representations,
    answer_targets,
    embeddings_parts,
    explain,
    find_neighbours,
)
from kg_service.snapshot.append import append
from kg_service.snapshot.opened import Base, Snapshot
from kg_service.snapshot.publication import compact, publish
from kg_service.snapshot.segment import Segment, image_arrays
from nbclip.errors import BrokenArtefact, Unavailable
from nbclip.ids import caption_sha256
from nbclip.schemas.targets import RepresentationsRequest, TargetsRequest
from safetensors.numpy import load
from support.small_graphs import GraphOnly, graph_of, random_graphs

HYBRID = Hybrid(hub_share=1.0)
SMALL = TransE(dimension=8, epochs=2, batch=4, negatives=2)
VARIANTS = [("hybrid", "noise"), ("hybrid", "dk"), ("hybrid", "dk_ek")]


def part_of(graph, rows):
    """The graph of these images alone, as a store would give it: their concepts, and those above them."""
    sets = np.split(graph.attribute_indices, graph.attribute_indptr[1:-1])
    kept = {int(concept) for row in rows for concept in sets[row]}
    while above := {int(parent) for child, parent in graph.is_a if child in kept} - kept:
        kept |= above
    place = {concept: at for at, concept in enumerate(sorted(kept))}
    concepts = [[place[int(concept)] for concept in sets[row]] for row in rows]
    return replace(
        graph,
        image_ids=tuple(graph.image_ids[row] for row in rows),
        caption_sha256=tuple(graph.caption_sha256[row] for row in rows),
        cuis=tuple(graph.cuis[concept] for concept in sorted(kept)),
        attribute_indptr=np.cumsum([0, *map(len, concepts)], dtype=np.int64),
        attribute_indices=np.array([concept for row in concepts for concept in row], np.int32),
        is_a=np.array([[place[c], place[p]] for c, p in graph.is_a if c in kept], np.int32).reshape(-1, 2),
    )


def in_one_table(base, graph):
    """The oracle: every image of a graph, ordered by id, embedded at once by the tables of a published snapshot."""
    sets = np.split(graph.attribute_indices, graph.attribute_indptr[1:-1])
    cuis = [[graph.cuis[concept] for concept in row] for row in sets]
    vectors = {variant: base.base.fitted(variant).embed(graph.image_ids, cuis) for variant in base.base.segment.vectors}
    place = {cui: at for at, cui in enumerate(base.cuis)}
    known = [[place[cui] for cui in row if cui in place] for row in cuis]
    concepts = {
        "attribute_indptr": np.cumsum([0, *map(len, known)], dtype=np.int64),
        "attribute_indices": np.array([concept for row in known for concept in row], np.int32),
    }
    segment = Segment(image_arrays(graph.image_ids, graph.caption_sha256), concepts, vectors)
    return Snapshot("0" * 64, base.manifest, Base(base.base.folder, base.base.manifest, segment, base.base.graph))


@st.composite
def growing_graphs(draw):
    """A graph, and the rows that are published, appended and appended again; some concept is published."""
    graph = draw(random_graphs())
    kinds = draw(st.lists(st.integers(0, 2), min_size=len(graph.image_ids), max_size=len(graph.image_ids)))
    kinds[0] = 0
    rows = [[row for row, kind in enumerate(kinds) if kind <= step] for step in range(3)]
    return graph, rows


def grow(graph, rows, folder, **representations):
    """Publishes the first rows and appends the others; the snapshots, the last one opened as another process would."""
    snapshots = SnapshotFolder(folder)
    publish(GraphOnly(part_of(graph, rows[0])), folder, vocabulary={}, representations=representations or {"hybrid": HYBRID})
    opened = [snapshots.open()]
    for step in rows[1:]:
        append(GraphOnly(part_of(graph, step)), snapshots)
        opened.append(snapshots.open())
    return [*opened[:-1], SnapshotFolder(folder).open()]


@settings(deadline=None, max_examples=40)
@given(growing_graphs(), st.sampled_from(VARIANTS), st.data())
def test_every_answer_is_that_of_one_table_to_the_bit(growing, variant, data):
    graph, rows = growing
    representation, knowledge = variant
    with tempfile.TemporaryDirectory() as folder:
        first, *_, last = grow(graph, rows, Path(folder))
        oracle = in_one_table(first, graph if len(rows[2]) == len(graph.image_ids) else part_of(graph, rows[2]))
        ids = data.draw(st.permutations(graph.image_ids))
        some = ids[: data.draw(st.integers(1, len(ids)))]
        chosen = {"knowledge": knowledge, "representation": representation}
        for output in ("similarity", "targets"):
            for columns in (None, [*reversed(ids)]):
                request = TargetsRequest(image_ids=some, column_ids=columns, output=output, **chosen)
                one, other = answer_targets(oracle, request), answer_targets(last, request)
                assert np.array_equal(one.values, other.values)
                assert np.array_equal(one.has_knowledge, other.has_knowledge)
                assert not other.unknown.any()
        request = RepresentationsRequest(image_ids=[some[0], "ghost", *some], on_unknown="flag", **chosen)
        one, other = answer_representations(oracle, request), answer_representations(last, request)
        for name in ("indptr", "indices", "data", "dense", "has_knowledge", "unknown"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
        looked = {**chosen, "name_of": str}
        for image_id in some:
            one, other = (find_neighbours(each, image_id, 5, **looked) for each in (oracle, last))
            assert one.neighbours == other.neighbours
        one, other = (explain(each, some[0], ids[-1], **looked) for each in (oracle, last))
        assert one.model_dump(exclude={"snapshot"}) == other.model_dump(exclude={"snapshot"})


@settings(deadline=None, max_examples=25)
@given(growing_graphs())
def test_the_file_of_all_vectors_has_every_image_once(growing):
    graph, rows = growing
    with tempfile.TemporaryDirectory() as folder:
        *_, last = grow(graph, rows, Path(folder))
        tensors = load(b"".join(embeddings_parts(last, "dk_ek", "hybrid")))
        ids = [tensors["id_bytes"][start:end].tobytes().decode() for start, end in pairwise(tensors["id_offsets"])]
        assert sorted(ids) == sorted(graph.image_ids)
        batch = answer_representations(last, RepresentationsRequest(image_ids=ids))
        assert np.array_equal(tensors["sparse_indptr"], batch.indptr)
        assert np.array_equal(tensors["sparse_data"], batch.data)
        assert np.array_equal(tensors["dense"], batch.dense)


def test_vectors_that_an_append_left_out_are_made_once_however_many_threads_ask(tmp_path):
    graph = graph_of([[number % 7] for number in range(400)])
    *_, last = grow(graph, rows_of(10, 300, 400), tmp_path)
    barrier = threading.Barrier(8)

    def ask(_):
        barrier.wait()
        return last.vectors("hybrid", "noise").tail

    with ThreadPoolExecutor(8) as threads:
        assert len(set(map(id, threads.map(ask, range(8))))) == 1


def rows_of(*counts):
    """Rows 0 to n - 1 for each n."""
    return [list(range(count)) for count in counts]


def many(images, concepts=12, seed=0):
    rng = np.random.default_rng(seed)
    return graph_of([sorted(rng.choice(concepts, rng.integers(1, 5), replace=False).tolist()) for _ in range(images)])


def test_what_was_pinned_stays_as_it_was_while_images_are_appended(tmp_path):
    graph = many(30)
    before, middle, last = grow(graph, rows_of(20, 24, 30), tmp_path)
    assert [len(each) for each in (before, middle, last)] == [20, 24, 30]
    snapshots = SnapshotFolder(tmp_path)
    for held in (before, middle):
        again = snapshots.open(held.id)
        request = TargetsRequest(image_ids=[f"i{row}" for row in range(20)])
        assert np.array_equal(answer_targets(held, request).values, answer_targets(again, request).values)
        assert (again.positions(["i25"]) == -1).all()
    assert snapshots.ids()[0] == snapshots.current() == last.id
    assert snapshots.manifest(before.id).appended is None


def test_the_same_appends_give_the_same_ids_and_nothing_new_writes_nothing(tmp_path):
    graph = many(12)
    ids = [[each.id for each in grow(graph, rows_of(8, 10, 12), tmp_path / name)] for name in "ab"]
    assert ids[0] == ids[1]
    snapshots = SnapshotFolder(tmp_path / "a")
    before = sorted(snapshots.path.iterdir())
    new_id, counts = append(GraphOnly(graph), snapshots)
    assert (new_id, counts.appended) == (ids[0][-1], 0)
    assert sorted(snapshots.path.iterdir()) == before


def test_counts_of_the_manifest_are_those_of_all_images(tmp_path):
    graph = graph_of([[0, 1], [0], [1], [0, 1], []])
    *_, last = grow(graph, rows_of(2, 4, 5), tmp_path)
    manifest = last.manifest
    assert (manifest.images, manifest.images_with_knowledge, manifest.attributes) == (5, 4, 6)
    assert (manifest.appended.images, manifest.appended.own) == (3, 1)
    assert manifest.variants == SnapshotFolder(tmp_path).manifest(manifest.appended.base).variants


def test_segments_stay_few_and_keep_their_order(tmp_path):
    graph = many(64)
    counts = [20, 36, 40, 41, 42, 43, 44, 45, 46, 64]
    opened = grow(graph, rows_of(*counts), tmp_path)
    own = [each.manifest.appended.own for each in opened[1:]]
    # 16 | 16 4 | 16 4 1 | 16 4 2 | 16 4 2 1 | 16 8 | 16 8 1 | 16 8 2 | all
    assert own == [16, 4, 1, 2, 1, 8, 1, 2, 44]
    assert [len(each.manifest.appended.earlier) for each in opened[1:]] == [0, 1, 2, 2, 3, 1, 2, 2, 0]
    oracle = in_one_table(opened[0], part_of(graph, list(range(46))))
    request = TargetsRequest(image_ids=[f"i{row}" for row in range(46)])
    assert np.array_equal(answer_targets(opened[-2], request).values, answer_targets(oracle, request).values)


def test_what_the_graph_has_otherwise_is_counted_and_left(tmp_path):
    base = graph_of([[0], [0, 1], [1], [2], [2]], captions=list("abcde"))
    snapshots = SnapshotFolder(tmp_path)
    publish(GraphOnly(base), tmp_path, vocabulary={}, representations={"hybrid": HYBRID})
    before = answer_targets(snapshots.open(), TargetsRequest(image_ids=["i0", "i1", "i2"], output="similarity")).values
    # i0 another caption, i1 another concept, i2 a concept that the base lacks besides; i3 is gone, i4 as before;
    # i5 is new with a known concept and one unknown, i6 and i7 without a known one
    later = graph_of([[0], [0, 2], [1, 3], [], [2], [0, 3], [4], []], captions=list("Xbcdefgh"))
    new_id, counts = append(GraphOnly(part_of(later, [0, 1, 2, 4, 5, 6, 7])), snapshots)
    assert counts.model_dump() == {
        "appended": 3,
        "without_vector": 2,
        "concepts_left_out": 2,
        "replaced": 3,
        "deleted": 1,
        "by_concepts": [],
        "elsewhere": 0,
    }
    snapshot = snapshots.open(new_id)
    matrix = answer_targets(snapshot, TargetsRequest(image_ids=["i0", "i1", "i2", "i3", "i5", "i6", "i7"], output="similarity"))
    assert np.array_equal(matrix.values[:3, :3], before)
    assert matrix.has_knowledge.tolist() == [True] * 5 + [False] * 2
    # asked again, images that were appended with concepts left out do not count as replaced
    again, counts = append(GraphOnly(part_of(later, [0, 1, 2, 4, 5, 6, 7])), snapshots)
    assert (again, counts.appended, counts.replaced, counts.deleted) == (new_id, 0, 3, 1)


def test_equal_captions_are_duplicates_across_segments(tmp_path):
    graph = graph_of([[0], [1], [1]], captions=["same", "other", "same"])
    *_, last = grow(graph, rows_of(2, 3), tmp_path)
    values = answer_targets(last, TargetsRequest(image_ids=["i0", "i1", "i2"], neighbour_mass=0.0)).values
    assert np.allclose(values, [[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]])


def test_an_append_says_where_published_images_have_vectors_that_were_learned(tmp_path):
    own = replace(SMALL, images="own")
    held = {"hybrid": HYBRID, "learned": SMALL, "own": own, "both": Both(0.5, HYBRID, SMALL), "half own": Both(0.5, HYBRID, own)}
    publish(GraphOnly(many(15)), tmp_path, vocabulary={}, representations=held)
    _, counts = append(GraphOnly(many(20)), SnapshotFolder(tmp_path))
    assert (counts.appended, counts.by_concepts) == (5, ["half own", "own"])
    assert append(GraphOnly(many(20)), SnapshotFolder(tmp_path))[1].by_concepts == []
    assert list(append_lines(counts, SnapshotFolder(tmp_path).open().manifest))[-1].startswith("half own, own: appended images")


def test_every_method_appends_and_compaction_keeps_its_parameters(tmp_path):
    graph = many(20)
    held = {"hybrid": replace(HYBRID, redundancy=0.5), "learned": SMALL, "own": replace(SMALL, images="own")}
    held["both"] = Both(0.25, held["hybrid"], held["own"])
    first, last = grow(graph, rows_of(15, 20), tmp_path, **held)
    for name in held:
        vectors = last.vectors(name, "dk_ek")
        sets = np.split(graph.attribute_indices, graph.attribute_indptr[1:-1])
        cuis = [[graph.cuis[concept] for concept in row] for row in sets[15:]]
        known = known_attributes(cuis, last.fitted("hybrid", "dk_ek").cuis)
        embedded = last.fitted(name, "dk_ek").embed_known(graph.image_ids[15:], known)
        assert np.array_equal(vectors.tail.dense, embedded.dense)
        assert np.array_equal(vectors.tail.sparse.toarray(), embedded.sparse.toarray())
    snapshots = SnapshotFolder(tmp_path)
    compacted = compact(GraphOnly(graph), snapshots, vocabulary={})
    assert compacted == snapshots.current()
    assert compacted == publish(GraphOnly(graph), tmp_path / "other", vocabulary={}, representations=held)
    assert snapshots.manifest(compacted).appended is None
    assert len(snapshots.open(first.id)) == 15


class Changing(GraphOnly):
    """Gives one graph after another; `between` is done before the second."""

    def __init__(self, *graphs, between=lambda: None):
        self.graphs, self.between = list(graphs), between

    def read_graph(self, **_):
        if len(self.graphs) == 1:
            self.between()
            return self.graphs[0]
        return self.graphs.pop(0)


def test_what_was_appended_during_a_compaction_is_in_what_follows(tmp_path):
    graph = many(20)
    grow(graph, rows_of(10, 14), tmp_path)
    snapshots = SnapshotFolder(tmp_path)
    compacted = compact(Changing(part_of(graph, list(range(14))), graph), snapshots, vocabulary={})
    manifest = snapshots.manifest(compacted)
    assert (manifest.images, manifest.appended.images, snapshots.current()) == (20, 6, compacted)


def test_a_compaction_gives_way_to_another_publication(tmp_path):
    graph = many(20)
    grow(graph, rows_of(10, 14), tmp_path)
    snapshots = SnapshotFolder(tmp_path)

    class Published(GraphOnly):
        def read_graph(self, **_):
            publish(GraphOnly(part_of(graph, [0, 1, 2])), tmp_path, vocabulary={"release": "other"})
            return self.graph

    assert compact(Published(graph), snapshots, vocabulary={}) is None
    assert snapshots.manifest(snapshots.current()).vocabulary == {"release": "other"}


def test_the_snapshots_that_it_stands_on_are_checked_and_named(tmp_path):
    opened = grow(many(40), rows_of(20, 30, 33), tmp_path)
    base, first, last = (each.id for each in opened)
    snapshots = SnapshotFolder(tmp_path)
    assert snapshots.manifest(last).appended.earlier == [first]
    for needed, file in ((base, "hybrid.dk.x.dense.npy"), (base, "graph.cuis.npy"), (first, "images.id_bytes.npy")):
        path = tmp_path / needed / file
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        for look in (SnapshotFolder(tmp_path).open, SnapshotFolder(tmp_path).verify):
            with pytest.raises(BrokenArtefact, match=f"{needed}/{file}"):
                look(last)
        path.write_bytes(content)
    (tmp_path / first).rename(tmp_path / "aside")
    for look in (SnapshotFolder(tmp_path).open, SnapshotFolder(tmp_path).verify):
        with pytest.raises(BrokenArtefact, match=f"{last} builds on {first}, which is missing"):
            look(last)


def test_tables_that_give_other_vectors_are_not_appended_by(tmp_path, monkeypatch):
    graph = many(12)
    grow(graph, rows_of(8), tmp_path)
    embed = Hybrid.fit(HYBRID, graph).__class__.embed_known

    def otherwise(self, image_ids, has):
        vectors = embed(self, image_ids, has)
        return replace(vectors, dense=-vectors.dense)

    monkeypatch.setattr("kg_service.representations.hybrid.FittedHybrid.embed_known", otherwise)
    with pytest.raises(OtherVersion, match="another version"):
        append(GraphOnly(graph), SnapshotFolder(tmp_path))


def test_there_is_nothing_to_append_to_where_nothing_is_published(tmp_path):
    with pytest.raises(Unavailable, match="snapshot publish"):
        append(GraphOnly(many(3)), SnapshotFolder(tmp_path / "nothing"))


def test_an_image_without_a_caption_is_nobodys_duplicate(tmp_path):
    graph = replace(graph_of([[0], [0], [0]]), caption_sha256=(caption_sha256("x"), caption_sha256(""), caption_sha256("")))
    *_, last = grow(graph, rows_of(1, 3), tmp_path)
    assert len(set(last.caption_keys(np.arange(3)).tolist())) == 3
