"""What the Neo4j store does beyond the suite of all stores: its schema, its mirror, refusals, edits made by hand."""

import fcntl
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import neo4j
import numpy as np
import pytest
from kg_service.cli.main import app
from kg_service.errors import UnusableStore, WrongCredentials
from kg_service.graph import open_store
from kg_service.graph.neo4j.address import parse_address
from kg_service.graph.neo4j.bolt import REQUEST, Bolt
from kg_service.graph.neo4j.mirror import Mirror
from kg_service.graph.neo4j.schema import SCHEMA_VERSION, query, schema
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, GraphCounts, ImageNode, IsAEdge
from nbclip.errors import BrokenArtefact, InvalidInput, NotFound, Unavailable
from typer.testing import CliRunner

PNEUMONIA, LUNG_DISEASE, DISEASE = "C0000001", "C0000002", "C0000003"


def batch(*images):
    concepts = [ConceptNode(cui, f"name of {cui}", ("T047",), "MSH") for cui in (PNEUMONIA, LUNG_DISEASE, DISEASE)]
    return GraphBatch(images, concepts, [IsAEdge(PNEUMONIA, LUNG_DISEASE, "MSH"), IsAEdge(LUNG_DISEASE, DISEASE, "MSH")])


def image(image_id, *cuis, **fields):
    return ImageNode(image_id, "a caption", tuple(AttributeEdge(cui) for cui in cuis), **fields)


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


@pytest.mark.parametrize("removed", [DISEASE, LUNG_DISEASE])
def test_concepts_removed_under_a_running_store_are_written_anew(opened, cypher, removed):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    cypher("MATCH (c:Concept {cui: $cui}) DETACH DELETE c", cui=removed)
    assert store.write(batch(image("b", PNEUMONIA))).outcomes[0].outcome == "created"
    assert store.counts() == GraphCounts(2, 3, 2, 2)


def test_is_a_removed_under_a_running_store_is_written_anew(opened, cypher):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    cypher("MATCH ()-[edge:IS_A]->(:Concept {cui: $cui}) DELETE edge", cui=DISEASE)
    store.write(batch(image("b", PNEUMONIA)))
    assert store.counts() == GraphCounts(2, 3, 2, 2)


def test_a_concept_that_another_took_the_place_of_costs_one_try(opened, cypher):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    cypher("MATCH (c:Concept {cui: $cui}) DETACH DELETE c", cui=DISEASE)
    cypher("CREATE (:Concept {cui: 'x', name: '', source: ''})-[:IS_A {key: 'x y'}]->(:Concept {cui: 'y', name: '', source: ''})")
    with pytest.raises(Unavailable, match="try again"):
        store.write(batch(image("b", DISEASE)))
    assert store.image("b") is None
    assert store.write(batch(image("b", DISEASE))).outcomes[0].outcome == "created"
    assert store.counts() == GraphCounts(2, 5, 2, 3)


def test_names_and_sources_that_changed_are_written_and_reach_the_mirror(opened, cypher, tmp_path):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    store.read_graph()
    renamed = [ConceptNode(PNEUMONIA, "another name", ("T046",), "SNOMEDCT_US"), ConceptNode(LUNG_DISEASE, "")]
    store.write(GraphBatch(concepts=renamed, is_a=[IsAEdge(PNEUMONIA, LUNG_DISEASE, "SNOMEDCT_US")]))
    assert cypher("MATCH (c:Concept {cui: $cui})-[e:IS_A]->() RETURN c.name, c.semantic_types, e.source", cui=PNEUMONIA) == [
        ["another name", ["T046"], "SNOMEDCT_US"]
    ]
    assert store.counts() == GraphCounts(1, 3, 1, 2)
    store.read_graph()
    with closing(open_store(str(tmp_path / "mirror" / "graph.sqlite"))) as copied:
        (concepts, is_a, _) = copied.batches()
    assert concepts.concepts[0] == renamed[0]
    assert is_a.is_a[0].source == "SNOMEDCT_US"


def test_a_query_is_compiled_once_for_batches_of_all_sizes(opened, cypher):
    store = opened()

    def compiled(*sizes):
        for size in sizes:
            ids = [f"{sizes} {size} {number}" for number in range(size)]
            concepts = [*batch().concepts, *(ConceptNode(name, "") for name in ids)]
            store.write(GraphBatch([image(name, name) for name in ids], concepts, [IsAEdge(name, DISEASE) for name in ids]))
        ((said,),) = cypher("CALL db.clearQueryCaches()")
        return int(re.search(r"of (\d+) queries", said)[1])

    compiled(2)
    # next_revision, concepts, create_concepts, create_is_a, images, create_images.
    assert (compiled(1), compiled(1, 20, 200)) == (6, 6)


def test_a_publication_comes_to_an_end_however_fast_others_write(opened, mirror):
    source, writer = opened(), opened()
    writer.write(batch(image("000", PNEUMONIA)))

    class Restless:
        """Is written to whenever somebody looks."""

        written = 0
        changes, image_ids, turn = source.changes, source.image_ids, source.turn

        def head(self):
            self.written += 1
            writer.write(batch(image(f"{self.written:03}", PNEUMONIA)))
            return source.head()

    restless = Restless()
    graph = Mirror(mirror, patience_s=1).read_graph(restless, dataset=None, split=None)
    assert graph.image_ids == tuple(f"{number:03}" for number in range(restless.written + 1))
    assert restless.written < 20


def test_writers_wait_while_a_mirror_has_the_turn(opened):
    source, writer = opened(), opened()
    writer.write(batch(image("a", PNEUMONIA)))
    with ThreadPoolExecutor(1) as pool:
        with source.turn({"mirror_x": "signed"}) as held:
            before = held.head()
            waiting = pool.submit(writer.write, batch(image("b", PNEUMONIA)))
            time.sleep(0.5)
            assert not waiting.done()
            assert held.head() == before
            assert before.signatures == {"signed"}
        assert waiting.result(10).outcomes[0].outcome == "created"


def test_a_turn_that_fails_leaves_no_signature(opened):
    store = opened()
    with pytest.raises(KeyError), store.turn({"mirror_x": "signed"}):
        raise KeyError
    assert store.head().signatures == frozenset()
    assert store.write(batch(image("a"))).outcomes[0].outcome == "created"


def test_who_waits_for_another_reader_of_the_mirror_gives_up_in_time(opened, mirror):
    store = opened()
    store.read_graph()
    with (mirror / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="another process writes to"):
            Mirror(mirror, patience_s=0.3).read_graph(store, dataset=None, split=None)
        assert time.monotonic() - begun < 5
    assert Mirror(mirror, patience_s=0.3).read_graph(store, dataset=None, split=None).image_ids == ()


def test_a_restored_backup_is_noticed_whatever_was_written_since(opened, cypher):
    """The backup has the same counts, and gets more writes than the copy has seen."""
    store = opened()
    store.write(batch(image("a", PNEUMONIA), image("b", PNEUMONIA)))
    store.read_graph()
    ((backup,),) = cypher("MATCH (state:GraphState) RETURN properties(state)")
    store.write(batch(image("a", DISEASE)), on_conflict="replace")
    store.read_graph()
    store.write(batch(image("a", PNEUMONIA)), on_conflict="replace")
    cypher("MATCH (state:GraphState) SET state = $backup", backup=backup)
    cypher("MATCH (a:Image {image_id: 'a'}) SET a.revision = $revision", revision=backup["revision"])
    for cui in (DISEASE, LUNG_DISEASE):
        store.write(batch(image("b", cui)), on_conflict="replace")
    graph = store.read_graph()
    assert [graph.cuis[position] for position in graph.attribute_indices] == [PNEUMONIA, LUNG_DISEASE]


def test_a_mirror_that_was_interrupted_after_signing_goes_on(opened, mirror, monkeypatch):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    store.read_graph()
    store.write(batch(image("b", PNEUMONIA)))
    keep, kept = Mirror._keep, []

    def interrupted(self, state):
        kept.append(state)
        if len(kept) == 2:
            raise OSError("no space left")
        keep(self, state)

    monkeypatch.setattr(Mirror, "_keep", interrupted)
    with pytest.raises(OSError, match="no space"):
        store.read_graph()
    monkeypatch.setattr(Mirror, "_keep", keep)
    monkeypatch.setattr(Mirror, "_discard", lambda self: pytest.fail("copied anew"))
    assert store.read_graph().image_ids == ("a", "b")


def test_a_deletion_of_which_the_end_was_not_known_found_the_image(opened, monkeypatch):
    store, commit, lost = opened(), neo4j.AsyncManagedTransaction._commit, []
    store.write(batch(image("a", PNEUMONIA)))

    async def loses_the_answer(transaction):
        await commit(transaction)
        if not lost:
            lost.append(transaction)
            raise neo4j.exceptions.IncompleteCommit

    monkeypatch.setattr(neo4j.AsyncManagedTransaction, "_commit", loses_the_answer)
    assert store.delete_image("a") is True
    assert lost
    assert store.image("a") is None
    assert store.delete_image("a") is False


def test_a_graph_that_lost_its_state_says_what_to_do(opened, cypher, tmp_path):
    store = opened()
    store.write(batch(image("a", PNEUMONIA)))
    store.read_graph()
    cypher("MATCH (state:GraphState) DELETE state")
    with pytest.raises(BrokenArtefact, match="a graph without its :GraphState") as error:
        opened().counts()
    hint = error.value.hint
    cypher(hint[hint.index("MATCH") :])
    again = opened()
    assert again.counts() == GraphCounts(1, 3, 1, 2)
    assert again.write(batch(image("b", PNEUMONIA))).outcomes[0].outcome == "created"
    assert same(again.read_graph(), opened(mirror=tmp_path / "another").read_graph())


def test_a_source_that_is_only_read_is_left_as_it_is(opened, empty_neo4j, cypher, tmp_path, monkeypatch):
    opened().write(batch(image("a", PNEUMONIA)))
    for name in schema():
        cypher(f"DROP {'INDEX' if name.endswith('revision') else 'CONSTRAINT'} {name}")
    nodes = cypher("MATCH (n) RETURN labels(n), properties(n) ORDER BY elementId(n)")
    target = tmp_path / "copy.sqlite"
    monkeypatch.setenv("KG_STORE_USER", empty_neo4j.user)
    monkeypatch.setenv("KG_STORE_PASSWORD", empty_neo4j.password)
    done = CliRunner().invoke(app, ["copy", empty_neo4j.uri, str(target), "--data", str(tmp_path)])
    assert done.exit_code == 0, done.output
    with closing(open_store(str(target))) as copied:
        assert copied.counts() == GraphCounts(1, 3, 1, 2)
    assert cypher("SHOW CONSTRAINTS YIELD name") == []
    assert cypher("MATCH (n) RETURN labels(n), properties(n) ORDER BY elementId(n)") == nodes
    for refused in (lambda store: store.write(batch()), lambda store: store.delete_image("a"), lambda store: store.read_graph()):
        with pytest.raises(InvalidInput, match="was opened read-only"):
            refused(opened(read_only=True))


def test_no_graph_is_begun_where_one_is_only_read(opened, cypher):
    with pytest.raises(NotFound, match="no graph in database 'neo4j'"):
        opened(read_only=True).counts()
    assert cypher("MATCH (n) RETURN n") == []
    assert cypher("SHOW CONSTRAINTS YIELD name") == []


def test_stores_that_are_first_used_at_once_make_one_graph(opened, tmp_path):
    stores = [opened(mirror=tmp_path / str(number)) for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda store: store.counts(), stores * 2))
    assert counts == [GraphCounts(0, 0, 0, 0)] * 8
    assert len({store.head().graph_id for store in stores}) == 1


def test_what_another_process_made_meanwhile_is_made(empty_neo4j):
    bolt = Bolt(parse_address(empty_neo4j.uri, empty_neo4j.user, empty_neo4j.password), REQUEST, query)
    with closing(bolt):
        for rule in schema().values():
            # Without `IF NOT EXISTS` the second is what the slower of two processes meets.
            for _ in range(2):
                bolt.make(rule.statement.replace("IF NOT EXISTS ", ""))
        with pytest.raises(UnusableStore, match="does not understand a query"):
            bolt.make("CREATE INDEX FOR nonsense")


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
    with pytest.raises(UnusableStore, match="1 :Image nodes of another program"):
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


def as_browser(server):
    """Where the server's HTTP port is."""
    return server.http.removeprefix("http://").partition("/")[0]


def as_bolt(server):
    return server.uri.removeprefix("bolt://")


@pytest.mark.parametrize(
    ("scheme", "place", "message"),
    [
        ("neo4j", as_browser, "speaks HTTP, not Bolt"),
        ("bolt+s", as_browser, "speaks HTTP, not Bolt"),
        ("bolt+s", as_bolt, "does not use TLS"),
        ("neo4j+s", as_bolt, "does not use TLS"),
        ("neo4j+ssc", as_bolt, "does not use TLS"),
    ],
)
def test_what_a_server_is_not_asked_by_is_told_at_once(empty_neo4j, mirror, scheme, place, message):
    store = open_store(f"{scheme}://{place(empty_neo4j)}", password=empty_neo4j.password, mirror=mirror, bulk=True)
    begun = time.monotonic()
    with closing(store), pytest.raises(UnusableStore, match=message):
        store.counts()
    assert time.monotonic() - begun < 5


def test_a_name_that_does_not_resolve_is_told(mirror):
    with (
        closing(open_store("neo4j://nobody.invalid", password="x", mirror=mirror)) as store,
        pytest.raises(Unavailable, match=r"no host is called 'nobody\.invalid'"),
    ):
        store.counts()


def test_the_database_of_the_servers_own_is_refused(empty_neo4j, mirror):
    store = open_store(f"{empty_neo4j.uri}/system", password=empty_neo4j.password, mirror=mirror)
    with closing(store), pytest.raises(UnusableStore, match="database 'system'"):
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
        ("neo4j://me:secret@host", "", "a password in the graph store's address"),  # pragma: allowlist secret
        ("neo4j:///graph", "x", "no host"),
        ("neo4j://me:secret@host:port", "", "can't read the graph store's address"),  # pragma: allowlist secret
        ("neo4j://host:99999", "x", "can't read the graph store's address"),
        ("neo4j://[::1", "x", "can't read the graph store's address"),
        ("neo4j://host/graph/more", "x", "can't read the graph store's address"),
        ("bolt://host?policy=x", "x", "can't read the graph store's address"),
        ("bolt://ho st", "x", "can't read the graph store's address"),
        ("neo4j://host", "", "no password for neo4j://host"),
    ],
)
def test_addresses_that_cannot_be_used(url, password, message, mirror):
    with pytest.raises(InvalidInput, match=message) as error:
        open_store(url, password=password, mirror=mirror)
    assert "secret" not in str(error.value)


def test_no_query_is_made_of_text():
    for name in (
        "images",
        "image_page",
        "concepts",
        "write_images",
        "delete_attributes",
        "create_concepts",
        "update_concepts",
        "create_is_a",
        "update_is_a",
        "delete_images",
    ):
        assert "$" in query(name)
        assert "%" not in query(name)
