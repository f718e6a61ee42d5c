"""The table of stores: a kind of one's own is a file and a line, and Neo4j's driver is imported where it is needed."""

import subprocess
import sys

import pytest
from kg_service.graph import open_store, probe, require_store
from kg_service.graph.store import ConceptNode, GraphBatch, ImageNode
from kg_service.graph.stores import STORES
from nbclip.errors import InvalidInput, NotFound, Unavailable


def test_a_kind_of_ones_own_is_opened_probed_and_looked_for_by_its_addresses(monkeypatch, tmp_path):
    monkeypatch.setitem(STORES, "day", "support.own_store:STORE")
    url = f"day://{tmp_path}/2026-11-29"
    with pytest.raises(NotFound, match="no graph store at"):
        require_store(url)
    store = open_store(url, user="somebody")
    store.write(GraphBatch(images=[ImageNode("a", "x")], concepts=[ConceptNode("C0000001", "n")]))
    store.close()
    require_store(url)
    probe(url, user="somebody", password="")
    again = open_store(str(tmp_path / "2026-11-29" / "graph.sqlite"))
    assert again.image_ids() == {"a"}
    again.close()
    with pytest.raises(Unavailable, match="nobody"):
        open_store(url, user="nobody")
    with pytest.raises(InvalidInput, match=r"known: .* day://"):
        open_store("night://x")


def test_neo4j_is_not_imported_for_a_file(tmp_path):
    script = "import sys; from kg_service.graph import open_store; open_store(sys.argv[1]).close(); print('neo4j' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path / "g.sqlite")], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("127.0.0.1:7687", "neo4j://127.0.0.1:7687"),
        ("localhost:7687", "neo4j://localhost:7687"),
        ("localhost:7687/graph", "neo4j://localhost:7687/graph"),
        ("[::1]:7687", "neo4j://[::1]:7687"),
        ("neo4j.example.org", "neo4j://neo4j.example.org"),
        ("127.0.0.1", "neo4j://127.0.0.1"),
        ("localhost", "neo4j://localhost"),
        ("neo4j//host", "neo4j://host"),
        ("neo4j:/host", "neo4j://host"),
        ("bolt:host:7687", "neo4j://host:7687"),
        ("neo4j+ssc//host/graph", "neo4j://host/graph"),
        ("graph", "neo4j://graph"),
    ],
)
@pytest.mark.parametrize("ask", [open_store, require_store, lambda url: probe(url, user="", password="")])
def test_an_address_without_its_scheme_is_no_file(monkeypatch, tmp_path, url, server, ask):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match="may be a server or a file") as error:
        ask(url)
    assert f"{server} for a server, ./{url} for" in error.value.hint
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "path", ["graph.sqlite", "my.graph.db", "./127.0.0.1:7687", "./graph", "neo4j/graph.sqlite", "GRAPH.SQLITE3"]
)
def test_what_is_surely_a_path_is_one(monkeypatch, tmp_path, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "neo4j").mkdir()
    open_store(path).close()
    assert (tmp_path / path).is_file()


@pytest.mark.parametrize("name", ["localhost:7687", "graph", "neo4j.example.org"])
def test_a_file_that_is_there_is_a_path(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    open_store(f"./{name}").close()
    open_store(name).close()
    require_store(name)


@pytest.mark.parametrize("url", ["http://host:7474", "https://host:7473"])
def test_the_address_of_neo4j_browser_is_none_of_a_store(url):
    with pytest.raises(InvalidInput, match="unknown kind of graph store") as error:
        open_store(url)
    assert "neo4j://" in error.value.hint
    assert "7687" in error.value.hint


@pytest.mark.parametrize("address", ["neo4j//{}host", "{}host:7687", "https://{}host"])
def test_a_password_in_an_address_that_is_refused_is_not_repeated(address):
    with pytest.raises(InvalidInput) as error:
        open_store(address.format("me:secret@"))
    assert "secret" not in str(error.value)
