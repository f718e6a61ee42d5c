"""A server that lets nobody write, or has little memory: what commands and the service make of it."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from kg_service.api.application import create_app
from kg_service.app.upkeep import ingest_now, publish_now
from kg_service.config import load_settings
from kg_service.errors import UnusableStore, WrongCredentials
from kg_service.graph import open_store
from kg_service.graph.neo4j.explanations import TooLarge
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode, IsAEdge
from kg_service.vocabulary.builder import build_vocabulary
from starlette.testclient import TestClient
from support.service import run

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[3] / "examples"
CUIS = [f"C{number:07}" for number in range(100)]
CONCEPTS = [ConceptNode(cui, f"name of {cui}", ("T047",), "MSH") for cui in CUIS]
MEMORY = "dbms.memory.transaction.total.max"


@pytest.fixture(scope="module")
def read_only(make_own_neo4j, tmp_path_factory):
    """A server with a graph in a database that has become read-only."""
    own = make_own_neo4j(tmp_path_factory.mktemp("own") / "server")
    own.start()
    login = {"user": own.server.user, "password": own.server.password}
    with closing(open_store(own.server.uri, **login, mirror=tmp_path_factory.mktemp("mirror"))) as store:
        store.write(GraphBatch([ImageNode("stored", "a caption", (AttributeEdge(CUIS[0]),))], CONCEPTS))
    own.stop()
    own.configure({"server.databases.default_to_read_only": "true"})
    own.start()
    return own.server


@pytest.fixture
def settings(read_only, vocabulary_folder, tmp_path):
    """The variables that name the read-only server."""
    login = {"KG_STORE": read_only.uri, "KG_STORE_USER": read_only.user, "KG_STORE_PASSWORD": read_only.password}
    return {"KG_DATA": str(tmp_path / "data"), "KG_VOCABULARY": str(vocabulary_folder)} | login


@pytest.fixture(scope="module")
def vocabulary_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary") / "compiled"
    build_vocabulary(EXAMPLES / "vocabulary", folder)
    return folder


@pytest.fixture
def captions(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text("image_id,caption\na,Chest X-ray with pneumonia.\nb,Pleural effusion.\n")
    return path


def test_the_doctor_says_it_too(settings):
    code, said, _, _ = run("doctor", settings=settings)
    assert code == 1
    assert "✗ graph: database 'neo4j' of " in said
    assert "is read-only" in said


@pytest.mark.parametrize("command", [["ingest", "captions.csv"], ["snapshot", "publish"]])
def test_a_command_says_in_one_line_that_the_database_is_read_only(settings, captions, command):
    arguments = [captions if each == captions.name else each for each in command]
    code, _, said, _ = run(*arguments, settings=settings)
    assert (code, len(said.splitlines())) == (2, 2), said
    assert said.startswith("error: database 'neo4j' of ")
    assert "is read-only" in said
    assert "server.databases.default_to_read_only" in said


def test_the_service_answers_503_and_jobs_say_why(settings, monkeypatch, captions):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with TestClient(create_app(load_settings()), base_url="http://localhost") as client:
        body = {"items": [{"image_id": "a", "caption": "Pneumonia."}]}
        csv = {"content": captions.read_bytes(), "headers": {"content-type": "text/csv"}}
        answers = [client.post("/v1/images", json=body), client.delete("/v1/images/stored")]
        read = client.get("/v1/images/stored")
        jobs = [client.post("/v1/jobs/ingest", **csv), client.post("/v1/snapshots", json={})]
        ready = client.get("/readyz?for=ingest")
    assert read.status_code == 200
    for answer in answers:
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert "is read-only" in answer.json()["detail"]
    assert ready.status_code == 503
    assert "is read-only" in next(each["message"] for each in ready.json()["errors"] if each["where"] == "store")
    assert [answer.status_code for answer in jobs] == [202, 202]
    for work_on in (ingest_now, publish_now):
        with pytest.raises(UnusableStore):
            work_on(load_settings())
    with TestClient(create_app(load_settings()), base_url="http://localhost") as client:
        states = [client.get(f"/v1/jobs/{answer.json()['id']}").json() for answer in jobs]
    assert all("is read-only" in json.dumps(state) for state in states)


def test_a_password_that_has_to_be_changed_first_is_told(read_only, tmp_path):
    with read_only.driver() as driver:
        driver.execute_query("CREATE USER newcomer SET PASSWORD 'a first password' CHANGE REQUIRED", database_="system")
    store = open_store(read_only.uri, user="newcomer", password="a first password", mirror=tmp_path)
    with closing(store), pytest.raises(WrongCredentials, match="wants another password of 'newcomer' first"):
        store.counts()


def test_no_login_where_one_is_asked_for_is_told(read_only, tmp_path):
    with (
        closing(open_store(read_only.uri, user="", mirror=tmp_path)) as store,
        pytest.raises(WrongCredentials, match="asks for a login"),
    ):
        store.counts()


@pytest.fixture(scope="module")
def little_memory(make_own_neo4j, tmp_path_factory):
    """A server that takes some 2,500 edges in a transaction."""
    own = make_own_neo4j(tmp_path_factory.mktemp("own") / "server", settings={MEMORY: "10m"})
    own.start()
    return own.server


@pytest.fixture
def small(little_memory, tmp_path):
    login = {"user": little_memory.user, "password": little_memory.password}
    with closing(open_store(little_memory.uri, **login, mirror=tmp_path / "mirror", bulk=True)) as store:
        yield store


def image(image_id, edges):
    return ImageNode(image_id, "x " * 1_000, tuple(AttributeEdge(CUIS[at % 100], "x", at, at + 1) for at in range(edges)))


def test_what_the_servers_memory_does_not_do_for_is_halved_and_stored_whole(small, tmp_path):
    batch = GraphBatch([image(f"{number:03}", 100) for number in range(60)], CONCEPTS, [IsAEdge(CUIS[0], CUIS[1])])
    assert {result.outcome for result in small.write(batch).outcomes} == {"created"}
    assert small.counts().attributes == 6_000
    assert {result.outcome for result in small.write(batch).outcomes} == {"unchanged"}
    with closing(open_store(str(tmp_path / "expected.sqlite"))) as expected:
        expected.write(batch)
        assert small.read_graph().attribute_indices.tolist() == expected.read_graph().attribute_indices.tolist()
        assert [node.attributes for node in small.images()] == [node.attributes for node in expected.images()]
    again = [image(f"{number:03}", 99) for number in range(60)]
    assert {result.outcome for result in small.write(GraphBatch(again, CONCEPTS), on_conflict="replace").outcomes} == {"replaced"}
    assert (small.counts().attributes, small.counts().is_a) == (5_940, 1)


def test_an_image_that_is_too_large_by_itself_names_the_servers_setting(small):
    with pytest.raises(TooLarge, match="too little memory for this") as error:
        small.write(GraphBatch([image("small", 1), image("large", 8_000)], CONCEPTS))
    assert f"raise {MEMORY}" in error.value.hint
    assert "\n" not in str(error.value)
    assert small.image("large") is None
    assert len(small.image("small").attributes) == 1
