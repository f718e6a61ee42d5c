"""Stores and snapshots beside a model in memory: ingest, replace, delete, publish, append and restart, in any order."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode, IsAEdge
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.append import append
from kg_service.snapshot.publication import publish
from support.counts import often

CUIS = ("C0000001", "C0000002", "C0000003")
CONCEPTS = [ConceptNode(cui, f"name of {cui}", ("T047",), "MSH") for cui in CUIS]
IS_A = [IsAEdge(CUIS[0], CUIS[2], "MSH")]
IDS = ("a", "b", "c/d", "🫁")
IMAGES = st.dictionaries(st.sampled_from(IDS), st.tuples(st.sampled_from("xyz"), st.sets(st.sampled_from(CUIS))), max_size=3)


class Machine(RuleBasedStateMachine):
    """`images`: id to caption and concepts, as the store should have them; `snapshots`: id to those that each was given."""

    opener = None

    def __init__(self):
        super().__init__()
        self.store = self.opener()
        for image_id in IDS:
            self.store.delete_image(image_id)
        self.folder = tempfile.TemporaryDirectory()
        self.images, self.snapshots = {}, {}

    @rule(given=IMAGES, on_conflict=st.sampled_from(["reject", "replace"]))
    def write(self, given, on_conflict):
        nodes = [ImageNode(key, caption, tuple(map(AttributeEdge, sorted(cuis)))) for key, (caption, cuis) in given.items()]
        self.store.write(GraphBatch(nodes, CONCEPTS, IS_A), on_conflict=on_conflict)
        self.images = {**self.images, **given} if on_conflict == "replace" else {**given, **self.images}

    @rule(image_id=st.sampled_from(IDS))
    def delete(self, image_id):
        assert self.store.delete_image(image_id) == (self.images.pop(image_id, None) is not None)

    @rule()
    def restart(self):
        self.store.close()
        self.store = self.opener()

    @precondition(lambda self: any(cuis for _, cuis in self.images.values()))
    @rule()
    def publish(self):
        self.snapshots[publish(self.store, Path(self.folder.name), vocabulary={})] = dict(self.images)

    @precondition(lambda self: self.snapshots)
    @rule()
    def append(self):
        snapshots = SnapshotFolder(Path(self.folder.name))
        before = snapshots.open()
        known = {cui for _, cuis in self.snapshots[before.id].values() for cui in cuis}
        known |= {CUIS[2]} if CUIS[0] in known else set()
        new = {key: image for key, image in self.images.items() if key not in self.snapshots[before.id]}
        appended, counts = append(self.store, snapshots)
        assert counts.appended == len(new)
        had = self.snapshots[before.id]
        self.snapshots[appended] = {**had, **{key: (caption, cuis & known) for key, (caption, cuis) in new.items()}}

    @invariant()
    def the_store_has_what_the_model_has(self):
        found = {node.image_id: (node.caption, {edge.cui for edge in node.attributes}) for node in self.store.images()}
        assert found == self.images

    @invariant()
    def every_snapshot_has_what_it_was_given(self):
        for held, expected in self.snapshots.items():
            snapshot = SnapshotFolder(Path(self.folder.name)).open(held)
            found = {
                snapshot.image_id(row): {snapshot.cui(int(concept)) for concept in snapshot.concepts(row)}
                for row in range(len(snapshot))
            }
            assert found == {key: cuis for key, (_, cuis) in expected.items()}

    def teardown(self):
        self.store.close()
        self.folder.cleanup()


@pytest.mark.timeout(often(300, 1_200))
def test_in_any_order_stores_and_snapshots_have_what_they_were_given(new_store, record_property):
    examples = often(10, 60)
    chosen = settings(
        max_examples=examples, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    run_state_machine_as_test(type("OnThisStore", (Machine,), {"opener": staticmethod(new_store())}), settings=chosen)
    record_property("sequences", examples)
