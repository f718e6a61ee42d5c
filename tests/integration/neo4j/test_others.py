"""A database that others use, too: what is in this graph's place is named and refused, what is beside it is left alone."""

from contextlib import closing

import pytest
from kg_service.cli.main import app
from kg_service.errors import UnusableStore
from kg_service.graph import open_store
from kg_service.graph.exports.parquet import export_parquet
from kg_service.graph.exports.transfer import copy
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, GraphCounts, ImageNode, IsAEdge
from kg_service.snapshot.publication import publish
from typer.testing import CliRunner

PNEUMONIA, DISEASE = "C0000001", "C0000002"
BATCH = GraphBatch(
    [ImageNode("a", "a caption", (AttributeEdge(PNEUMONIA),)), ImageNode("b", "another", (AttributeEdge(DISEASE),))],
    [ConceptNode(PNEUMONIA, "Pneumonia"), ConceptNode(DISEASE, "Disease")],
    [IsAEdge(PNEUMONIA, DISEASE, "MSH")],
)
COUNTS = GraphCounts(images=2, concepts=2, attributes=2, is_a=1)


def dropped(hint):
    """The statements of a hint, such as `DROP INDEX …; or give this graph …`."""
    return [part for part in hint.split("; ") if part.startswith("DROP")]


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        ("CREATE INDEX my_images FOR (i:Image) ON (i.image_id)", r"the index 'my_images' on :Image\(image_id\)"),
        ("CREATE INDEX `it's ``mine` FOR (c:Concept) ON (c.cui)", r"on :Concept\(cui\)"),
        ("CREATE INDEX keys FOR ()-[e:IS_A]-() ON (e.key)", r"the index 'keys' on :IS_A\(key\)"),
        (
            "CREATE CONSTRAINT concept_cui FOR (p:Person) REQUIRE p.email IS UNIQUE",
            r"'concept_cui' on :Person\(email\)",
        ),
        ("CREATE CONSTRAINT is_a_key FOR ()-[e:LIKES]-() REQUIRE e.id IS UNIQUE", r"'is_a_key' on :LIKES\(id\)"),
        ("CREATE INDEX image_id FOR (p:Photo) ON (p.file)", r"the index 'image_id' on :Photo\(file\)"),
        ("CREATE TEXT INDEX image_revision FOR (p:Photo) ON (p.file)", r"the index 'image_revision' on :Photo\(file\)"),
        ("CREATE CONSTRAINT theirs FOR (i:Image) REQUIRE i.revision IS UNIQUE", r"constraint 'theirs' on :Image\(revision\)"),
    ],
)
def test_an_index_or_a_constraint_in_the_place_of_ours_is_named_with_what_drops_it(opened, cypher, theirs, named):
    cypher(theirs)
    with pytest.raises(UnusableStore, match=named) as error:
        opened().write(BATCH)
    assert cypher("MATCH (node) RETURN node") == []
    (drop,) = dropped(error.value.hint)
    cypher(drop)
    opened().write(BATCH)
    assert opened().counts() == COUNTS
    assert len(cypher("SHOW CONSTRAINTS YIELD name")) == 5


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE CONSTRAINT another_name FOR (i:Image) REQUIRE i.image_id IS UNIQUE",
        "CREATE INDEX another_name FOR (c:Concept) ON (c.revision)",
        "CREATE INDEX captions FOR (i:Image) ON (i.caption)",
        "CREATE TEXT INDEX ids FOR (i:Image) ON (i.image_id)",
        "CREATE FULLTEXT INDEX names FOR (c:Concept) ON EACH [c.name]",
        "CREATE INDEX people FOR (p:Person) ON (p.email)",
    ],
)
def test_an_index_that_is_in_nobodys_way_stays(opened, cypher, theirs):
    cypher(theirs)
    opened().write(BATCH)
    opened().write(BATCH)
    assert opened().counts() == COUNTS


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE (:Image {file: 'x.png'})",
        "CREATE (:Image {image_id: 'a'}), (:Image {image_id: 'a'})",
        "CREATE (:Concept:Idea {name: 'freedom'})",
        "CREATE (:Concept {cui: 'C0000001'})",
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_nodes_of_others_under_our_labels_are_refused_with_what_renames_them(opened, cypher, theirs, before):
    if not before:
        opened().write(GraphBatch([ImageNode("z", "")]))
        cypher("DROP CONSTRAINT image_id")
    cypher(theirs)
    for command in (lambda store: store.counts(), lambda store: store.write(BATCH), lambda store: store.read_graph()):
        with pytest.raises(UnusableStore, match=r"holds \d :(Image|Concept) nodes of another program") as error:
            command(opened())
    cypher(error.value.hint.partition("rename theirs: ")[2])
    opened().write(BATCH)
    assert opened().counts().images == 2 + (not before)


def test_a_state_of_another_program_is_refused_with_what_renames_it(opened, cypher):
    cypher("CREATE (:GraphState {name: 'graph'})")
    with pytest.raises(UnusableStore, match="a :GraphState node of another program") as error:
        opened().counts()
    cypher(error.value.hint.partition("rename theirs: ")[2])
    opened().write(BATCH)


OTHERS = [
    "CREATE (:Person)-[:IS_A]->(:Thing), (:Person)-[:HAS_ATTRIBUTE]->(:Thing)",
    "CREATE (:Person)-[:IS_A {key: randomUUID()}]->(:Thing)",
    "MATCH (i:Image {image_id: 'a'}) CREATE (i)-[:HAS_ATTRIBUTE]->(:Tag {name: 'nice'}), (:Study)-[:HAS_ATTRIBUTE]->(i)",
    "MATCH (c:Concept {cui: 'C0000001'}) CREATE (c)-[:IS_A]->(:Idea), (:Word)-[:IS_A]->(c)",
    "MATCH (c:Concept {cui: 'C0000001'}), (i:Image {image_id: 'a'}) CREATE (:Text)-[:HAS_ATTRIBUTE]->(c), (c)-[:IS_A]->(i)",
    "MATCH (c:Concept {cui: 'C0000001'}), (i:Image {image_id: 'a'}) CREATE (i)-[:LIKES]->(c), (c)-[:HAS_ATTRIBUTE]->(i)",
    "MATCH (i:Image {image_id: 'a'}) SET i:Photo, i.camera = 'x' WITH i MATCH (c:Concept) SET c:Idea, c.mine = true",
]


@pytest.mark.parametrize("theirs", OTHERS)
@pytest.mark.parametrize("before", [True, False])
def test_edges_labels_and_properties_of_others_are_left_alone_and_not_counted(opened, cypher, tmp_path, theirs, before):
    if before:
        cypher(theirs)
    store = opened()
    store.write(BATCH)
    graph, published = store.read_graph(), publish(store, tmp_path / "snapshots", vocabulary={})
    cypher(theirs)
    everything = cypher("MATCH (node) WHERE NOT node:GraphState RETURN labels(node), properties(node) ORDER BY elementId(node)")
    store = opened()
    store.check()
    assert store.counts() == COUNTS
    assert store.image_count(PNEUMONIA) == 1
    assert [node.attributes for node in store.images()] == [image.attributes for image in BATCH.images]
    assert store.image("a").attributes == BATCH.images[0].attributes
    again = opened(mirror=tmp_path / "another").read_graph()
    assert (again.image_ids, again.cuis, again.is_a.tolist()) == (graph.image_ids, graph.cuis, graph.is_a.tolist())
    assert publish(store, tmp_path / "snapshots", vocabulary={}) == published
    assert store.read_new(graph.revision).image_ids == ()
    with closing(open_store(str(tmp_path / "copy.sqlite"))) as target:
        assert copy(store, target).complete
    assert export_parquet(store, tmp_path / "export") == COUNTS
    store.write(BATCH)
    nodes = "MATCH (node) WHERE NOT node:GraphState RETURN labels(node), properties(node) ORDER BY elementId(node)"
    assert cypher(nodes) == everything


def test_an_image_that_is_replaced_keeps_what_others_gave_it(opened, cypher):
    store = opened()
    store.write(BATCH)
    cypher("MATCH (i:Image {image_id: 'a'}) SET i:Photo, i.camera = 'x' CREATE (:Study)-[:HAS]->(i)-[:HAS_ATTRIBUTE]->(:Tag)")
    other = ImageNode("a", "another caption", (AttributeEdge(DISEASE),), split="train")
    assert store.write(GraphBatch([other], BATCH.concepts), on_conflict="replace").outcomes[0].outcome == "replaced"
    found = cypher("MATCH (:Study)-[:HAS]->(i:Photo)-[:HAS_ATTRIBUTE]->(:Tag) RETURN i.camera, i.caption, i.split")
    assert found == [["x", "another caption", "train"]]
    assert store.image("a").attributes == other.attributes
    assert store.counts() == COUNTS


def test_edges_made_by_hand_between_ours_are_given_ones(opened, cypher):
    store = opened()
    store.write(BATCH)
    store.read_graph()
    cypher("MATCH (i:Image {image_id: 'a'}), (c:Concept {cui: 'C0000002'}) CREATE (i)-[:HAS_ATTRIBUTE]->(c)")
    cypher("MATCH (c:Concept {cui: 'C0000002'}), (d:Concept {cui: 'C0000001'}) CREATE (c)-[:IS_A]->(d)")
    assert store.image("a").attributes == (AttributeEdge(PNEUMONIA), AttributeEdge(DISEASE))
    assert store.image_count(DISEASE) == 2
    graph = store.read_graph()
    assert (graph.attribute_indices.tolist(), graph.is_a.tolist()) == ([0, 1, 1], [[0, 1], [1, 0]])
    assert store.counts() == GraphCounts(2, 2, 3, 2)


def test_edges_made_by_hand_that_stand_there_twice_are_found_by_what_the_error_says(opened, cypher):
    store = opened()
    store.write(BATCH)
    cypher("MATCH (i:Image {image_id: 'a'})-[:HAS_ATTRIBUTE]->(c) CREATE (i)-[:HAS_ATTRIBUTE {start: -1, end: -1}]->(c)")
    with pytest.raises(UnusableStore, match="edges that stand there twice") as error:
        store.read_graph()
    statement = error.value.hint[error.value.hint.index("MATCH") : error.value.hint.index("; or")]
    ((image, concept, times),) = cypher(statement)
    assert (image["image_id"], concept["cui"], times) == ("a", PNEUMONIA, 2)


def test_nodes_that_stand_there_twice_are_told_where_the_constraint_was_dropped(opened, cypher):
    opened().write(BATCH)
    cypher("DROP CONSTRAINT image_id")
    cypher("MATCH (i:Image {image_id: 'a'}) CREATE (j:Image) SET j = properties(i)")
    with pytest.raises(UnusableStore, match=r"can't have this graph's schema: .* property `image_id` = 'a'"):
        opened().counts()


def test_a_constraint_of_others_on_what_we_write_is_told(opened, cypher):
    opened().write(BATCH)
    cypher("CREATE CONSTRAINT one_caption FOR (i:Image) REQUIRE i.caption IS UNIQUE")
    with pytest.raises(UnusableStore, match=r"refuses what this program writes: .*`caption` = 'another'"):
        opened().write(GraphBatch([ImageNode("c", "another")]))
    assert opened().counts() == COUNTS


def test_the_command_says_it_in_one_line(empty_neo4j, cypher, monkeypatch, tmp_path):
    cypher("CREATE INDEX my_images FOR (i:Image) ON (i.image_id)")
    monkeypatch.setenv("KG_STORE_PASSWORD", empty_neo4j.password)
    with closing(open_store(str(tmp_path / "graph.sqlite"))) as source:
        source.write(BATCH)
    arguments = ["copy", str(tmp_path / "graph.sqlite"), empty_neo4j.uri, "--data", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UnusableStore)
    assert done.exception.exit_code == 2
    assert "\n" not in f"{done.exception.message}{done.exception.hint}"
