"""An export to the end: the server's own tool imports it, the server starts on it, the store finds the graph."""

import re
from contextlib import closing

import numpy as np
import pytest
from kg_service.graph import open_store
from kg_service.graph.exports.neo4j_admin import export_neo4j_admin, import_commands
from kg_service.graph.neo4j.schema import schema
from kg_service.graph.store import AttributeEdge, GraphBatch, GraphCounts, ImageNode
from nbclip.errors import Conflict
from support.graphs import CONCEPTS, nasty_graph
from support.neo4j.artifacts import NEWEST_POM, find_artifacts, find_java_of_newest, newest_can_be_had
from support.neo4j.contents import edges, indexes, nodes
from support.neo4j.offline import import_offline
from support.neo4j.process import ProcessServer

IMPORTED = re.compile(r"20 nodes\s+37 relationships")


@pytest.fixture
def source(tmp_path):
    with closing(open_store(str(tmp_path / "graph.sqlite"))) as store:
        store.write(nasty_graph())
        yield store


@pytest.fixture
def exported(source, tmp_path):
    # Characters that a shell, a list of files or a regular expression would take for its own.
    folder = tmp_path / "first load, (1)+ [x]"
    assert export_neo4j_admin(source, folder) == source.counts()
    return folder


@pytest.fixture
def imported(exported, make_own_neo4j, tmp_path):
    """A server that was started on an export."""
    own = make_own_neo4j(tmp_path / "server")
    own.start()
    own.stop()
    assert IMPORTED.search(import_offline(own, exported, tmp_path))
    own.start()
    return own.server


@pytest.mark.slow
def test_an_imported_graph_is_the_same_as_one_that_was_written_and_can_be_written(source, imported, empty_neo4j, tmp_path):
    with closing(opened(empty_neo4j, tmp_path / "written")) as store:
        store.write(nasty_graph())
    for label, name in (("Image", "image_id"), ("Concept", "cui"), ("GraphState", "name")):
        assert nodes(imported, label, name) == nodes(empty_neo4j, label, name)
    assert edges(imported) == edges(empty_neo4j)
    assert not schema().keys() & indexes(imported)
    with closing(opened(imported, tmp_path / "imported")) as store:
        assert store.counts() == source.counts()
        assert store.images(limit=100) == source.images(limit=100)
        assert_same(store.read_graph(), source.read_graph())
        assert schema().keys() <= indexes(imported)
        assert {result.outcome for result in store.write(nasty_graph()).outcomes} == {"unchanged"}
        new = GraphBatch([ImageNode("new", "a caption", (AttributeEdge(CONCEPTS[0].cui),))], CONCEPTS)
        for either in (store, source):
            assert either.write(new).outcomes[0].outcome == "created"
        assert_same(store.read_graph(), source.read_graph())


if newest_can_be_had():

    @pytest.mark.slow
    def test_the_newest_neo4j_imports_an_export_too(exported, tmp_path):
        with closing(ProcessServer(find_java_of_newest(), find_artifacts(NEWEST_POM), tmp_path / "server")) as never_started:
            assert IMPORTED.search(import_offline(never_started, exported, tmp_path))


def test_two_exports_are_two_graphs(source, tmp_path):
    for name in ("one", "two"):
        export_neo4j_admin(source, tmp_path / name)
    one, two = ((tmp_path / name / "state.csv").read_text() for name in ("one", "two"))
    assert one != two


def test_the_commands_name_the_folder_for_a_shell(tmp_path):
    for command in import_commands(tmp_path / "a folder").values():
        assert f"'{tmp_path}/a folder'" in command


def test_an_empty_graph_can_be_exported(tmp_path):
    with closing(open_store(str(tmp_path / "graph.sqlite"))) as store:
        assert export_neo4j_admin(store, tmp_path / "out") == GraphCounts(0, 0, 0, 0)
    assert (tmp_path / "out" / "is_a.csv").read_text() == '":START_ID(Concept)",":END_ID(Concept)","key","source"\n'


def test_a_folder_that_holds_something_is_left_alone(source, tmp_path):
    with pytest.raises(Conflict, match="is not empty"):
        export_neo4j_admin(source, tmp_path)


def opened(server, mirror):
    return open_store(server.uri, user=server.user, password=server.password, mirror=mirror, bulk=True)


def assert_same(graph, other):
    for name in {*graph.__slots__} - {"revision", "relations"}:
        np.testing.assert_array_equal(getattr(graph, name), getattr(other, name))
    one, two = ({name: edges.tolist() for name, edges in each.relations.items()} for each in (graph, other))
    assert one == two
