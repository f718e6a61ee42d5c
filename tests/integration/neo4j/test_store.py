"""What the Neo4j store does beyond the suite of all stores: its schema, its mirror, refusals, edits made by hand."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import neo4j
import numpy as np
import pytest
from kg_service.errors import WrongCredentials
from kg_service.graph import open_store
from kg_service.graph.bolt import parse_address
from kg_service.graph.neo4j import SCHEMA_VERSION, query, schema
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, GraphCounts, ImageNode, IsAEdge
from nbclip_shared.errors import BrokenArtefact, Conflict, InvalidInput, Unavailable

PNEUMONIA, LUNG_DISEASE, DISEASE = "C0000001", "C0000002", "C0000003"


def batch(*images):
    concepts = [ConceptNode(cui, f"name of {cui}", ("T047",), "MSH") for cui in (PNEUMONIA, LUNG_DISEASE, DISEASE)]
    return GraphBatch(images, concepts, [IsAEdge(PNEUMONIA, LUNG_DISEASE, "MSH"), IsAEdge(LUNG_DISEASE, DISEASE, "MSH")])


def image(image_id, *cuis, **fields):
    return ImageNode(image_id, "a caption", tuple(AttributeEdge(cui) for cui in cuis), **fields)


@pytest.fixture
def mirror(tmp_path):
    return tmp_path / "mirror"


@pytest.fixture
def opened(empty_neo4j, mirror):
    """Opens the store on the emptied server; again and with another login if asked."""
    stores = []

    def open_again(**options):
        chosen = {"user": empty_neo4j.user, "password": empty_neo4j.password, "mirror": mirror} | options
        stores.append(open_store(empty_neo4j.uri, **chosen))
        return stores[-1]

    yield open_again
    for store in stores:
        store.close()


@pytest.fixture
def cypher(empty_neo4j):
    """Runs a statement as somebody at Neo4j Browser would."""
    with empty_neo4j.driver() as driver:
        yield lambda statement, **parameters: [record.values() for record in driver.execute_query(statement, parameters).records]


def same(graph, other):
    arrays = ("attribute_indptr", "attribute_indices", "is_a")
    return (graph.image_ids, graph.caption_sha256, graph.cuis, graph.linkers) == (
        (other.image_ids, other.caption_sha256, other.cuis, other.linkers)
    ) and all(np.array_equal(getattr(graph, name), getattr(other, name)) for name in arrays)


def test_constraints_stand_before_the_first_write(opened, cypher):
    opened().check()
    constraints = dict(cypher("SHOW CONSTRAINTS YIELD name, type"))
    assert constraints == {
        "image_id": "UNIQUENESS",
        "concept_cui": "UNIQUENESS",
        "graph_state_name": "UNIQUENESS",
        "has_attribute_key": "RELATIONSHIP_UNIQUENESS",
        "is_a_key": "RELATIONSHIP_UNIQUENESS",
    }
    assert constraints.keys() < schema().keys()
    assert {name for (name,) in cypher("SHOW INDEXES YIELD name, state WHERE state = 'ONLINE' RETURN name")} > schema().keys()


def test_a_constraint_that_was_dropped_is_made_again(opened, cypher):
    opened().write(batch(image("a", PNEUMONIA)))
    cypher("DROP CONSTRAINT image_id")
    opened().check()
    assert [name for (name,) in cypher("SHOW CONSTRAINTS YIELD name WHERE name = 'image_id'")] == ["image_id"]


def test_the_server_refuses_a_second_edge_of_one_key(opened, cypher):
    opened().write(batch(image("a", PNEUMONIA)))
    for kind in ("HAS_ATTRIBUTE", "IS_A"):
        with pytest.raises(neo4j.exceptions.ConstraintError):
            cypher(f"MATCH (a)-[r:{kind}]->(b) WITH a, r, b LIMIT 1 CREATE (a)-[:{kind} {{key: r.key}}]->(b)")


def test_the_arrays_are_what_plain_cypher_says(opened, cypher):
    store = opened()
    store.write(batch(image("b", PNEUMONIA, DISEASE), image("a", LUNG_DISEASE), image("c")))
    graph = store.read_graph()
    rows = cypher("MATCH (i:Image) OPTIONAL MATCH (i)-[:HAS_ATTRIBUTE]->(c) RETURN i.image_id, i.caption_sha256, collect(c.cui)")
    assert list(zip(graph.image_ids, graph.caption_sha256, strict=True)) == sorted((one, two) for one, two, _ in rows)
    bounds = zip(graph.attribute_indptr[:-1], graph.attribute_indptr[1:], strict=True)
    found = [[graph.cuis[index] for index in graph.attribute_indices[start:end]] for start, end in bounds]
    assert found == [sorted(cuis) for *_, cuis in sorted(rows)]
    edges = cypher("MATCH (child)-[:IS_A]->(parent) RETURN child.cui, parent.cui")
    assert [[graph.cuis[child], graph.cuis[parent]] for child, parent in graph.is_a] == sorted(edges)


def test_every_node_has_the_name_that_neo4j_browser_shows(opened, cypher):
    opened().write(batch(image("a", PNEUMONIA)))
    names = cypher("MATCH (n) RETURN labels(n)[0], n.name ORDER BY n.name")
    assert names == [
        ["Image", "a"],
        ["GraphState", "graph"],
        *(["Concept", f"name of {cui}"] for cui in sorted({PNEUMONIA, LUNG_DISEASE, DISEASE})),
    ]


def test_a_mirror_asks_for_what_is_new_only(opened, mirror):
    store = opened()
    store.write(batch(*(image(f"{number:03}", PNEUMONIA) for number in range(50))))
    store.read_graph()
    followed = json.loads((mirror / "state.json").read_text())["revision"]
    assert list(store.changes(followed)) == []
    store.write(batch(image("new", DISEASE)))
    store.write(batch(image("007", LUNG_DISEASE)), on_conflict="replace")
    changed = list(store.changes(followed))
    assert [[node.image_id for node in part.images] for part in changed] == [["007", "new"]]
    assert store.read_graph().image_ids == tuple(sorted([*(f"{number:03}" for number in range(50)), "new"]))


def test_a_new_edge_between_known_concepts_reaches_the_mirror(opened):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    assert len(store.read_graph().is_a) == 2
    store.write(GraphBatch(concepts=batch().concepts, is_a=[IsAEdge(PNEUMONIA, DISEASE)]))
    assert store.read_graph().is_a.tolist() == [[0, 1], [0, 2], [1, 2]]


def test_edits_made_by_hand_reach_the_next_reading(opened, cypher, tmp_path):
    store = opened()
    store.write(batch(image("a", PNEUMONIA), image("b", PNEUMONIA, DISEASE), image("c", DISEASE)))
    store.read_graph()
    cypher("MATCH (i:Image {image_id: 'a'}) DETACH DELETE i")
    assert store.read_graph().image_ids == ("b", "c")
    cypher("MATCH (:Image {image_id: 'b'})-[r:HAS_ATTRIBUTE]->(:Concept {cui: $cui}) DELETE r", cui=DISEASE)
    cypher("MATCH (:Concept {cui: $cui})-[r:IS_A]->() DELETE r", cui=LUNG_DISEASE)
    assert same(store.read_graph(), opened(mirror=tmp_path / "another").read_graph())
    assert store.read_graph().attribute_indptr.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["graph.sqlite", "state.json"])
def test_a_damaged_mirror_is_made_anew(opened, mirror, name):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    graph = store.read_graph()
    (mirror / name).write_bytes(b"damaged" * 1000)
    assert same(store.read_graph(), graph)


def test_the_mirror_of_another_graph_is_made_anew(opened, cypher):
    opened().write(batch(image("a", PNEUMONIA), image("b")))
    assert opened().read_graph().image_ids == ("a", "b")
    cypher("MATCH (n) DETACH DELETE n")
    opened().write(batch(image("c", DISEASE)))
    assert opened().read_graph().image_ids == ("c",)


def test_a_graph_removed_under_a_running_store_is_told_and_begun_anew(opened, cypher):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    cypher("MATCH (n) DETACH DELETE n")
    with pytest.raises(Unavailable, match="the graph was removed"):
        store.counts()
    assert store.counts() == GraphCounts(0, 0, 0, 0)
    assert store.write(batch(image("a", PNEUMONIA))).outcomes[0].outcome == "created"
    assert store.counts() == GraphCounts(1, 3, 1, 2)


def test_a_concept_removed_under_a_running_store_costs_one_try(opened, cypher):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    cypher("MATCH (c:Concept {cui: $cui}) DETACH DELETE c", cui=DISEASE)
    with pytest.raises(Unavailable, match="try again"):
        store.write(batch(image("b", DISEASE)))
    assert store.image("b") is None
    assert store.write(batch(image("b", DISEASE))).outcomes[0].outcome == "created"
    assert store.counts() == GraphCounts(2, 3, 2, 2)


def test_stores_that_are_first_used_at_once_make_one_graph(opened, tmp_path):
    stores = [opened(mirror=tmp_path / str(number)) for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda store: store.counts(), stores * 2))
    assert counts == [GraphCounts(0, 0, 0, 0)] * 8
    assert len({store.head().graph_id for store in stores}) == 1


def test_callers_wait_for_one_attempt_together(mirror):
    store = open_store("bolt://127.0.0.1:9", password="x", mirror=mirror)
    begun = time.monotonic()
    with closing(store), ThreadPoolExecutor(8) as pool:
        errors = [future.exception() for future in [pool.submit(store.counts) for _ in range(8)]]
    assert {type(error) for error in errors} == {Unavailable}
    # One attempt takes up to 10 s; eight after one another would take a minute.
    assert time.monotonic() - begun < 30


def test_closing_ends_the_calls_that_still_wait(mirror):
    store = open_store("bolt://127.0.0.1:9", password="x", mirror=mirror)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.counts)
        time.sleep(0.5)
        store.close()
        with pytest.raises(Unavailable, match="is closed"):
            waiting.result(10)


def test_a_graph_set_back_to_a_former_state_is_copied_anew(opened, cypher):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    ((revision,),) = cypher("MATCH (state:GraphState) RETURN state.revision")
    store.write(batch(image("a", DISEASE)), on_conflict="replace")
    store.read_graph()
    cypher("MATCH (state:GraphState) SET state.revision = $revision", revision=revision)
    cypher("MATCH (:Image)-[edge:HAS_ATTRIBUTE]->() DELETE edge")
    cypher(
        "MATCH (i:Image), (c:Concept {cui: $cui}) CREATE (i)-[:HAS_ATTRIBUTE {key: 'x', text: '', start: -1, end: -1,"
        " score: 1.0, rule: 'given', assertion: 'present', linker: 'given'}]->(c)",
        cui=PNEUMONIA,
    )
    graph = store.read_graph()
    assert graph.cuis[graph.attribute_indices[0]] == PNEUMONIA


def test_a_wrong_password_is_tried_once(opened, empty_neo4j):
    store = opened(password="wrong")
    for _ in range(6):
        with pytest.raises(WrongCredentials, match=f"refuses '{empty_neo4j.user}'"):
            store.counts()
    # Three refused logins would lock the account for everybody.
    opened().check()


def test_a_database_that_is_not_there_is_named(empty_neo4j, mirror):
    store = open_store(f"{empty_neo4j.uri}/other", password=empty_neo4j.password, mirror=mirror)
    with closing(store), pytest.raises(WrongCredentials, match="no database 'other'"):
        store.check()


def test_a_database_of_another_program_is_left_alone(opened, cypher):
    cypher("CREATE (:Image {file: 'x.png'})")
    with pytest.raises(Conflict, match="nodes of another program"):
        opened().check()
    assert cypher("MATCH (n) RETURN labels(n), properties(n)") == [[["Image"], {"file": "x.png"}]]
    assert cypher("SHOW CONSTRAINTS YIELD name") == []


def test_a_graph_of_another_schema_version_is_named(opened, cypher):
    opened().check()
    cypher("MATCH (state:GraphState) SET state.schema_version = 99")
    with pytest.raises(BrokenArtefact, match=f"schema version 99, this program needs {SCHEMA_VERSION}"):
        opened().check()


def test_times_that_images_bring_are_kept(opened):
    store = opened()
    store.write(batch(image("a", ingested_at="2020-01-02T03:04:05.678+00:00"), image("b")))
    times = [node.ingested_at for node in store.images()]
    assert times[0] == "2020-01-02T03:04:05.678+00:00"
    assert times[1] > "2026"


def test_a_closed_store_says_so(opened):
    store = opened()
    store.close()
    store.close()
    with pytest.raises(Unavailable, match="is closed"):
        store.counts()


def test_nobody_at_the_address_is_told_in_time(mirror):
    store = open_store("bolt://127.0.0.1:9", password="x", mirror=mirror, bulk=True)
    with closing(store), pytest.raises(Unavailable, match=r"bolt://127\.0\.0\.1:9 does not answer"):
        store.counts()


@pytest.mark.parametrize(
    ("url", "user", "expected"),
    [
        ("neo4j://host", "neo4j", ("neo4j://host", "neo4j", "neo4j")),
        ("bolt+s://me@host:7688/graph/", "neo4j", ("bolt+s://host:7688", "graph", "me")),
        ("neo4j://[::1]:7687", "", ("neo4j://[::1]:7687", "neo4j", "")),
    ],
)
def test_addresses(url, user, expected):
    address = parse_address(url, user, "secret" if user else "")
    assert (address.url, address.database, address.user) == expected


@pytest.mark.parametrize(
    ("url", "password", "message"),
    [
        ("neo4j://me:secret@host", "", "a password in the graph store's address"),
        ("neo4j:///graph", "x", "no host"),
        ("neo4j://host", "", "no password for neo4j://host"),
    ],
)
def test_addresses_that_cannot_be_used(url, password, message, mirror):
    with pytest.raises(InvalidInput, match=message) as error:
        open_store(url, password=password, mirror=mirror)
    assert "secret" not in str(error.value)


def test_no_query_is_made_of_text():
    for name in ("images", "image_page", "concepts", "create_images", "write_concepts", "write_is_a", "delete_images"):
        assert "$" in query(name)
        assert "%" not in query(name)
