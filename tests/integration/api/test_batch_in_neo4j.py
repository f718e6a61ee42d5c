"""A batch in Neo4j, by its own import tool: the database is the one that `kg-service ingest` of the same captions makes."""

import csv
import json
import random
import unicodedata
from itertools import islice
from pathlib import Path

import pytest
from kg_service.graph.neo4j.schema import schema
from support.graphs import TEXTS
from support.neo4j.contents import CHANGING, edges, indexes, nodes
from support.neo4j.offline import import_offline

EXAMPLES = Path(__file__).parents[3] / "examples" / "radiology-open" / "metadata.csv"
PNEUMONIA, EFFUSION, UNKNOWN = "C0032285", "C0032227", "C9999999"
_MORE = "image_id,caption,split\nlater,Pneumonia and pleural effusion.,train\nlater still,Femur fracture.,train\n"


@pytest.fixture
def captions(tmp_path, monkeypatch):
    """Example captions, and ids and texts that a format may stumble over; some are there twice, or contradict each other."""
    monkeypatch.chdir(tmp_path)
    with EXAMPLES.open(encoding="utf-8") as file:
        rows = [{name: row[name] for name in ("image_id", "caption", "split")} for row in islice(csv.DictReader(file), 150)]
    rows += [*nasty_rows(), *rows[:5], rows[7] | {"caption": "Femur fracture."}, {"image_id": "no caption"}]
    for number, part in enumerate((rows[:60], rows[60:])):
        Path(f"{number}.ndjson").write_text("".join(f"{json.dumps(row)}\n" for row in part))
    return ["0.ndjson", "1.ndjson"]


def nasty_rows():
    generator = random.Random(7)
    any_text = ["".join(map(chr, generator.choices(planes(), k=12))) for _ in range(60)]
    for number, text in enumerate([*TEXTS, *any_text]):
        kept = text.replace("\0", "")
        image_id = "".join(each for each in f"{kept} {number}" if unicodedata.category(each) != "Cc")
        cuis = [[], [PNEUMONIA], [EFFUSION, UNKNOWN, EFFUSION]][number % 3]
        yield {"image_id": image_id, "caption": kept, "cuis": cuis, "dataset": kept if number % 2 else "", "split": "train"}
        yield {"image_id": f"linked {image_id}", "caption": f'{kept}. No pneumothorax.\r\nPleural\n effusion, "pneumonia" {kept}'}


def planes():
    """Characters of all kinds, but NUL and surrogates."""
    return [
        *range(1, 0x250),
        *range(0x2000, 0x2070),
        *range(0xFE00, 0xFFFF),
        *range(0x1F5F0, 0x1F700),
        *range(0x10FF00, 0x110000),
    ]


@pytest.fixture
def work(captions, vocabulary_folder, tmp_path, monkeypatch, command):
    """The folder of a batch, linked, with a rejected row and one that can't be used."""
    monkeypatch.setenv("KG_VOCABULARY", str(vocabulary_folder))
    assert command("batch", "plan", *captions, "work", "--shard-rows", 50)[0] == 0
    assert command("batch", "run", "work")[0] == 0
    return tmp_path / "work"


@pytest.fixture
def own(make_own_neo4j, tmp_path, monkeypatch):
    """A server that is not started yet, whose login the settings have."""
    own = make_own_neo4j(tmp_path / "server")
    monkeypatch.setenv("KG_STORE_USER", own.server.user)
    monkeypatch.setenv("KG_STORE_PASSWORD", own.server.password)
    return own


@pytest.mark.slow
def test_an_imported_batch_is_the_graph_that_ingest_makes_and_can_be_written(work, own, captions, tmp_path, command):
    own.start()
    in_neo4j = ("--store", own.server.uri)
    assert [command("ingest", file, *in_neo4j, "--data", "first")[0] for file in captions] == [0, 1]
    ingested = contents(own.server)
    assert len(ingested["Image"]) == 150 + 2 * 75
    own.stop()

    code, out, said = command("batch", "export", "neo4j-admin", work, "import", "--max-bad", 2)
    assert (code, "rejected: stored before with another caption and attributes" in said) == (0, True)
    assert f"sh {tmp_path}/import/import.sh NEO4J_HOME/bin/neo4j-admin" in out
    import_offline(own, tmp_path / "import", tmp_path)
    own.start()
    assert contents(own.server) == ingested
    assert not schema().keys() & indexes(own.server)

    copied = ("--store", "./copy.sqlite", "--data", "third")
    assert command("batch", "copy", work, "./copy.sqlite", "--max-bad", 2)[0] == 0
    published = command("batch", "publish", work, "--max-bad", 2)[1]
    Path("more.csv").write_text(_MORE)
    for store in ((*in_neo4j, "--data", "second"), copied):
        assert command("snapshot", "publish", *store)[1] == published
        assert command("ingest", captions[0], *store)[1].startswith("60 unchanged")
        assert command("ingest", "more.csv", *store)[1].startswith("2 created")
    assert schema().keys() <= indexes(own.server)
    again = [command("snapshot", "publish", *store)[1] for store in ((*in_neo4j, "--data", "second"), copied)]
    assert again[0] == again[1] != published


def contents(server):
    """All nodes and edges, but for the times at which they were written."""
    of_nodes = {
        label: nodes(server, label, name, without=(*CHANGING, "ingested_at"))
        for label, name in (("Image", "image_id"), ("Concept", "cui"), ("GraphState", "name"))
    }
    return of_nodes | {"edges": edges(server)}
