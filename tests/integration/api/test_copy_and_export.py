"""The commands that move a graph: to another store, and into files."""

from contextlib import closing

import polars as pl
import pytest
from kg_service.graph import open_store
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode

CUI = "C0032285"


@pytest.fixture
def graph(data):
    return data / "graph.sqlite"


@pytest.fixture
def login(empty_neo4j, monkeypatch):
    """The address of an empty Neo4j whose login the settings have."""
    monkeypatch.setenv("KG_STORE_USER", empty_neo4j.user)
    monkeypatch.setenv("KG_STORE_PASSWORD", empty_neo4j.password)
    return empty_neo4j.uri


def write(path, *images):
    with closing(open_store(str(path))) as store:
        store.write(GraphBatch(images, [ConceptNode(CUI, "Pneumonia")]), on_conflict="replace")


def images(path):
    with closing(open_store(str(path))) as store:
        return store.images()


def counts(out):
    """The rows of the printed table."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    return {name: [int(cell) for cell in cells] for name, *cells in rows}


def test_a_copy_shows_both_sides_and_changes_nothing_when_run_again(graph, tmp_path, command):
    target = tmp_path / "copy.sqlite"
    code, out, err = command("copy", graph, target)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "8 created"
    assert counts(out)["source"] == counts(out)["target"]
    assert counts(out)["source"][0] == 8
    code, out, _ = command("copy", graph, f"embedded://{target}")
    assert (code, out.splitlines()[0]) == (0, "8 unchanged")
    assert images(target) == images(graph)


def test_other_content_of_the_target_is_named_and_ends_with_1(graph, tmp_path, command):
    target = tmp_path / "copy.sqlite"
    write(target, ImageNode("fracture", "Another caption.", (AttributeEdge(CUI),)))
    code, out, err = command("copy", graph, target)
    assert code == 1
    assert out.splitlines()[0] == "7 created, 1 rejected"
    assert err.splitlines()[0].startswith("fracture: stored before with another caption")
    assert f"copy.sqlite holds a different graph from {graph}" in err.replace("\n", " ")
    assert "--replace" in err.splitlines()[-1]
    code, out, _ = command("copy", graph, target, "--replace")
    assert (code, out.splitlines()[0]) == (0, "1 replaced, 7 unchanged")
    write(target, ImageNode("one more", "More.", (AttributeEdge(CUI),)))
    code, out, err = command("copy", graph, target)
    assert (code, out) == (2, "")
    assert "the target has 1 images that the source lacks, nothing was copied: one more" in err
    code, out, err = command("copy", graph, target, "--merge")
    assert code == 1
    assert (counts(out)["source"][0], counts(out)["target"][0]) == (8, 9)
    assert err.splitlines()[0] == "one more: in the target only"


def test_a_copy_in_neo4j_and_one_of_that_give_the_same_snapshot(data, graph, login, vocabulary_folder, command):
    def snapshot(store):
        return command("snapshot", "publish", "--data", data, "--vocabulary", vocabulary_folder, "--store", store)[1]

    back = data / "back.sqlite"
    for source, target in ((graph, login), (login, back)):
        code, out, _ = command("copy", source, target, "--data", data)
        assert (code, out.splitlines()[0]) == (0, "8 created")
    assert snapshot(graph) == snapshot(login) == snapshot(back)
    assert images(back) == images(graph)


def test_a_wrong_password_is_one_line_and_2(data, graph, login, monkeypatch, command):
    monkeypatch.setenv("KG_STORE_PASSWORD", "wrong")
    code, _, err = command("copy", graph, login, "--data", data)
    assert code == 2
    assert err.splitlines()[0].startswith(f"error: Neo4j at {login} refuses")


def test_parquet_is_written_for_other_programs(data, graph, tmp_path, command):
    code, out, _ = command("export", "parquet", tmp_path / "files", "--data", data)
    assert code == 0
    assert counts(out)["files"][0] == 8
    table = pl.read_parquet(tmp_path / "files" / "images.parquet")
    assert table["caption"].to_list() == [image.caption for image in images(graph)]
    assert command("export", "parquet", tmp_path / "files", "--data", data)[0] == 2


def test_csv_for_neo4j_comes_with_the_commands_that_import_it(data, tmp_path, command):
    code, out, _ = command("export", "neo4j-admin", tmp_path / "files", "--data", data)
    assert code == 0
    assert f"sh {tmp_path}/files/import.sh NEO4J_HOME/bin/neo4j-admin" in out.splitlines()
    assert sorted(file.name for file in (tmp_path / "files").iterdir()) == [
        "concepts.csv",
        "has_attribute.csv",
        "images.csv",
        "import.sh",
        "is_a.csv",
        "relations.csv",
        "state.csv",
    ]


@pytest.mark.parametrize("arguments", [("copy", "nothing.sqlite", "new.sqlite"), ("export", "parquet", "files")])
def test_a_graph_that_is_not_there_is_not_made(tmp_path, monkeypatch, command, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: no graph store at ")
    assert list(tmp_path.iterdir()) == []
