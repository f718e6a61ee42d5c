"""What only the embedded store has to stand: other files, other processes, full disks, SIGKILL."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from kg_service.graph import open_store
from kg_service.graph.embedded.sqlite import SCHEMA_VERSION, Database
from kg_service.graph.embedded.store import EmbeddedStore, open_embedded
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, GraphCounts, ImageNode
from nbclip.errors import BrokenArtefact, InvalidInput, Unavailable

CUI = "C0000001"
CONCEPT = ConceptNode(CUI, "pneumonia", ("T047",), "MSH")


def batch(*image_ids, caption="a caption"):
    return GraphBatch([ImageNode(image_id, caption, (AttributeEdge(CUI),)) for image_id in image_ids], [CONCEPT])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.db"


@pytest.fixture
def store(path):
    store = open_embedded(path)
    yield store
    store.close()


def query(path, sql):
    connection = sqlite3.connect(path)
    rows = connection.execute(sql).fetchall()
    connection.commit()
    connection.close()
    return rows


def test_the_file_is_in_wal_mode_and_names_its_schema(store, path):
    store.write(batch("a"))
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert query(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert query(path, "PRAGMA foreign_key_check") == []


def test_commits_are_synced(path):
    database = Database(path)
    with database.writing() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    database.close()


def test_folders_are_created(tmp_path):
    open_embedded(tmp_path / "a" / "b" / "graph.db").close()
    assert (tmp_path / "a" / "b" / "graph.db").exists()


@pytest.mark.parametrize("content", [b"image_id,caption\n" * 100, b"SQLite format 3\0" + bytes(200), b"short"])
def test_a_file_that_is_no_database_is_named_and_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(BrokenArtefact, match=r"graph\.db is damaged or not a graph store.* move .*graph\.db away"):
        open_embedded(path)
    assert path.read_bytes() == content


def test_a_file_of_another_schema_version_is_named(store, path):
    store.close()
    query(path, "PRAGMA user_version = 99")
    with pytest.raises(BrokenArtefact, match=r"graph\.db has schema version 99, this program needs 4"):
        open_embedded(path)


THREE_ASSERTIONS = """
PRAGMA user_version = 2;
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, ", 'family', 'history')", ')') WHERE name = 'provenance';
PRAGMA writable_schema = RESET;
"""
NO_REVISIONS = """
DROP TABLE revision;
PRAGMA user_version = 1;
"""


def as_version(path, *scripts):
    """Makes a file what former versions wrote: the second knew three assertions, the first had no revisions."""
    connection = sqlite3.connect(path)
    for script in scripts:
        connection.executescript(script)
    connection.close()


def as_version_1(path):
    as_version(path, THREE_ASSERTIONS, NO_REVISIONS)


def test_a_file_of_version_2_takes_the_assertions_that_were_added(store, path):
    store.write(batch("a"))
    store.close()
    as_version(path, THREE_ASSERTIONS)
    again = open_embedded(path)
    edges = [
        AttributeEdge(CUI, "pneumonia", at, at + 9, 1.0, "exact", what, "own") for at, what in ((0, "family"), (9, "history"))
    ]
    again.write(GraphBatch([ImageNode("b", "a caption", tuple(edges))], [CONCEPT]))
    assert [[edge.assertion for edge in image.attributes] for image in again.images()] == [["present"], ["family", "history"]]
    again.close()


def test_a_file_of_the_former_version_keeps_its_graph_and_goes_on(store, path):
    store.write(batch("a", "b"))
    nodes, counts = store.images(), store.counts()
    store.close()
    as_version_1(path)
    again = open_embedded(path)
    assert (again.images(), again.counts()) == (nodes, counts)
    assert query(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    before = again.read_graph().revision
    again.write(batch("c"))
    assert again.read_new(before).image_ids == ("c",)
    again.close()


def test_eight_threads_open_a_file_of_the_former_version_at_once(store, path):
    store.write(batch("a"))
    store.close()
    as_version_1(path)
    start = threading.Barrier(8)

    def open_it(_):
        start.wait()
        opened = open_embedded(path)
        revision = opened.read_graph().revision
        opened.close()
        return revision

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(open_it, range(8)))) == 1


def test_a_restored_backup_has_not_the_states_that_came_after_it(store, path, tmp_path):
    store.write(batch("a"))
    store.close()
    shutil.copy(path, tmp_path / "backup")
    store = open_embedded(path)
    store.write(batch("b"))
    late = store.read_graph().revision
    store.close()
    shutil.copy(tmp_path / "backup", path)
    restored = open_embedded(path)
    assert restored.read_new(late) is None
    for image_id in "cbd":
        restored.write(batch(image_id))
    assert restored.read_graph().revision.number > late.number
    assert restored.read_new(late) is None
    restored.close()


@pytest.mark.parametrize("part", [{}, {"split": "train"}])
def test_a_read_of_what_is_new_costs_no_more_in_a_larger_graph(path, monkeypatch, part):
    connect, steps = Database._connect, []

    def counted(self):
        connection = connect(self)
        connection.set_progress_handler(lambda: steps.append(1), 1)
        return connection

    monkeypatch.setattr(Database, "_connect", counted)
    store = open_embedded(path)
    costs = []
    for first in (0, 1_000):
        store.write(split_train(*(f"{number:05}" for number in range(first, first + 1_000))))
        since = store.read_graph(**part).revision
        store.write(split_train(f"new after {first}", f"also after {first}"))
        steps.clear()
        assert len(store.read_new(since, **part).image_ids) == 2
        costs.append(len(steps))
    store.close()
    assert costs[1] < 1.2 * costs[0]


def split_train(*image_ids):
    images = batch(*image_ids).images
    return GraphBatch([replace(image, split="train") for image in images], [CONCEPT])


def test_what_changes_no_image_is_no_new_state(store):
    store.write(batch("a"))
    before = store.read_graph().revision
    store.write(batch("a"))
    store.write(batch("a", caption="another"))
    store.write(GraphBatch(concepts=[CONCEPT]))
    store.delete_image("nobody")
    assert store.read_graph().revision == before


def test_a_database_of_another_program_is_left_alone(path):
    query(path, "CREATE TABLE photos (id)")
    with pytest.raises(BrokenArtefact, match="another program"):
        open_embedded(path)
    assert query(path, "SELECT name FROM sqlite_schema") == [("photos",)]
    assert query(path, "PRAGMA journal_mode") == [("delete",)]


def test_damage_is_found_when_it_is_read(store, path):
    store.write(batch(*(f"{number:05}" for number in range(2_000))))
    store.close()
    content = bytearray(path.read_bytes())
    content[4096 * 8 :] = random.Random(0).randbytes(len(content) - 4096 * 8)
    path.write_bytes(content)
    damaged = open_embedded(path)
    with pytest.raises(BrokenArtefact, match=r"graph\.db is damaged"):
        damaged.read_graph()
    damaged.close()


def test_a_path_that_cannot_be_opened_is_unavailable(tmp_path):
    with pytest.raises(Unavailable, match=str(tmp_path)):
        open_embedded(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="check the path"):
        open_embedded(tmp_path / "file" / "graph.db")


def test_a_file_locked_by_another_process_is_unavailable_for_writing_only(path):
    store = open_embedded(path, patience_s=0.05)
    store.write(batch("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another process"):
        store.write(batch("b"))
    assert [node.image_id for node in store.images()] == ["a"]
    other.close()
    assert [result.outcome for result in store.write(batch("b")).outcomes] == ["created"]
    store.close()


def test_a_full_disk_is_unavailable_and_leaves_nothing_of_the_batch(path):
    database = Database(path)
    store = EmbeddedStore(database)
    store.write(batch("a"))
    with database.writing() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(Unavailable, match="no space left"):
        store.write(batch(*(f"{number:05}" for number in range(5_000))))
    assert store.counts() == GraphCounts(images=1, concepts=1, attributes=1, is_a=0)
    with database.writing() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    assert [result.outcome for result in store.write(batch("b")).outcomes] == ["created"]
    store.close()


def test_a_batch_that_fails_half_way_leaves_nothing(store):
    bad = ImageNode("b", "", (AttributeEdge(CUI, score=float("nan")),))
    with pytest.raises(InvalidInput, match="score"):
        store.write(GraphBatch([*batch("a").images, bad], [CONCEPT]))
    assert store.counts() == GraphCounts(0, 0, 0, 0)


def test_a_known_name_outlives_an_unknown_one_and_yields_to_another(store, path):
    for name in ("pneumonia", "", "Pneumonia"):
        store.write(GraphBatch(concepts=[ConceptNode(CUI, name, ("T047", "T033"), "MSH")]))
        assert query(path, "SELECT name, semantic_types FROM concept") == [(name or "pneumonia", "T047 T033")]


def test_a_closed_store_says_so(store):
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        store.images()
    with pytest.raises(Unavailable, match="closed"):
        store.write(batch("a"))


def test_check_notices_a_removed_file(store, path):
    store.check()
    path.unlink()
    with pytest.raises(Unavailable, match="was removed"):
        store.check()


def test_eight_threads_open_a_new_file_at_once(path):
    start = threading.Barrier(8)

    def open_and_write(number):
        start.wait()
        store = open_embedded(path)
        store.write(batch(str(number)))
        store.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_and_write, range(8)))
    store = open_embedded(path)
    assert [node.image_id for node in store.images()] == list("01234567")
    store.close()


def test_a_store_closed_under_its_readers_lets_them_end(path):
    store = open_embedded(path)
    store.write(batch(*map(str, range(100))))
    started = threading.Barrier(5)

    def read():
        started.wait()
        for _ in range(1_000):
            try:
                assert len(store.images()) == 100
            except Unavailable:
                return True
        return False

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        started.wait()
        store.close()
        assert all(reader.result() for reader in readers)


WRITER = """
import sys
from pathlib import Path
from kg_service.graph.embedded.store import open_embedded
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode
store = open_embedded(Path(sys.argv[1]))
for number in range(10_000):
    images = [ImageNode(f"{number:05}-{part}", "caption " * 20, (AttributeEdge("C0000001"),)) for part in range(20)]
    store.write(GraphBatch(images, [ConceptNode("C0000001", "pneumonia")]))
    print(number, flush=True)
"""


@pytest.mark.parametrize("acknowledged_before_kill", [1, 7, 40])
def test_a_killed_writer_loses_no_acknowledged_batch_and_tears_none(path, acknowledged_before_kill):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        acknowledged = [int(writer.stdout.readline()) for _ in range(acknowledged_before_kill)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
    store = open_embedded(path)
    images = store.images(limit=1_000_000)
    stored = {int(node.image_id.split("-")[0]) for node in images}
    assert set(acknowledged) <= stored <= {*acknowledged, len(acknowledged)}
    assert len(images) == 20 * len(stored)
    assert all(len(node.attributes) == 1 for node in images)
    assert store.image_count(CUI) == len(images)
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    store.close()


@pytest.mark.parametrize("address", ["{}", "embedded://{}"])
def test_a_store_is_opened_by_its_address(path, address):
    store = open_store(address.format(path))
    store.write(batch("a"))
    store.close()
    assert query(path, "SELECT image_id FROM image") == [("a",)]


@pytest.mark.parametrize("address", ["bold://localhost", "http://x/graph.db"])
def test_an_unknown_kind_of_store_is_refused_with_the_known_ones(address):
    with pytest.raises(InvalidInput, match=r"unknown kind of graph store.*known: a plain path, embedded://, neo4j://"):
        open_store(address)


@pytest.mark.parametrize("address", ["", "embedded://"])
def test_an_address_without_a_path_is_refused(address):
    with pytest.raises(InvalidInput, match="no path"):
        open_store(address)
