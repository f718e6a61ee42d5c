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
