"""The stores beside each other: the same captions give the same graph, snapshot id and targets, bit for bit."""

from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from kg_service.api.application import create_app
from kg_service.config import load_settings
from kg_service.graph import open_store
from kg_service.ingest.pipeline import ingest_items
from kg_service.ingest.readers import ReadOptions, read_items
from kg_service.jobs.model import IngestOrder
from kg_service.jobs.receiving import receiving
from kg_service.jobs.spool import read_job
from kg_service.jobs.work import work
from kg_service.linking.builder import build_linker
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.append import append
from kg_service.snapshot.publication import publish
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.files.reading import Rows
from starlette.testclient import TestClient
from support.neo4j.database import empty
from support.neo4j.fixtures import SERVERS

EXAMPLES = Path(__file__).parents[2] / "examples"
CHANGES = [slice(0, 120), slice(80, 200), slice(200, 300)]


@pytest.fixture(scope="module")
def vocabulary_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary") / "compiled"
    build_vocabulary(EXAMPLES / "vocabulary", folder)
    return folder


@pytest.fixture(scope="module")
def items():
    options = ReadOptions(relink=True)
    rows = Rows([EXAMPLES / "rocov2" / "metadata.csv"], options.layout())
    return [row.item for row in islice(read_items(rows, options), 300)]


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    """A Neo4j of each release."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def published(server, vocabulary_folder, items, tmp_path_factory):
    """Data folders in which the same calls were made, by store: ingest in parts that overlap, replace, delete, publish."""
    empty(server)
    login = {"user": server.user, "password": server.password}
    folders = {}
    for name in ("embedded", "neo4j"):
        folder = folders[name] = tmp_path_factory.mktemp(name)
        url = server.uri if name == "neo4j" else str(folder / "graph.sqlite")
        with closing(open_store(url, **login, mirror=folder / "mirror")) as store:
            make_graph(store, vocabulary_folder, items, folder / "snapshots")
    return folders


def ingest_in_a_job(jobs, items, store, linker, vocabulary):
    with receiving(jobs, IngestOrder(format="ndjson")) as spooled:
        spooled.write("".join(item.model_dump_json(exclude_none=True) + "\n" for item in items).encode())
        job = spooled.keep()
    work(jobs, store, linker, vocabulary, batch_size=50)
    done = read_job(jobs, job.id).progress
    assert (done.state, sum(done.counts.values()), done.bad_rows) == ("done", len(items), 0)


def make_graph(store, vocabulary_folder, items, snapshots):
    vocabulary = open_vocabulary(vocabulary_folder)
    linker = build_linker("dictionary", vocabulary)
    for part in CHANGES:
        ingest_in_a_job(snapshots.parent / "jobs", items[part], store, linker, vocabulary)
        publish(store, snapshots, vocabulary=vocabulary.describe())
    moved = [item.model_copy(update={"split": "moved", "caption": "Femur fracture."}) for item in items[:20]]
    ingest_items(moved, store, linker, vocabulary, "replace")
    store.delete_image(items[50].image_id)
    publish(store, snapshots, vocabulary=vocabulary.describe())
    publish(store, snapshots, vocabulary=vocabulary.describe(), split="moved")
    more = [item.model_copy(update={"image_id": f"new {item.image_id}", "split": "moved"}) for item in items[60:100]]
    for part in (more[:25], more[25:]):
        ingest_items(part, store, linker, vocabulary, "reject")
        append(store, SnapshotFolder(snapshots))


def test_every_snapshot_has_the_same_id_and_files(published):
    one, other = (SnapshotFolder(folder / "snapshots") for folder in published.values())
    assert set(one.ids()) == set(other.ids())
    assert len(one.ids()) == len(CHANGES) + 4
    assert one.current() == other.current()
    assert one.manifest(one.current()).appended.images == 40
    for snapshot in one.ids():
        files = [file.name for file in one.manifest(snapshot).files]
        assert all((one.path / snapshot / name).read_bytes() == (other.path / snapshot / name).read_bytes() for name in files)


def test_targets_of_every_kind_are_the_same_bytes(published, vocabulary_folder, items):
    snapshot = max(SnapshotFolder(published["neo4j"] / "snapshots").ids(), key=lambda held: images(published["neo4j"], held))
    ids = [item.image_id for item in items[100:164]]
    answers = {}
    for name, folder in published.items():
        app = create_app(load_settings(data=folder, vocabulary=vocabulary_folder))
        with TestClient(app, base_url="http://localhost") as client:
            answers[name] = [
                client.post("/targets", json={"image_ids": ids, "snapshot": snapshot, "knowledge": knowledge, "output": output})
                for knowledge in ("noise", "dk", "dk_ek")
                for output in ("targets", "similarity")
            ]
    for one, other in zip(answers["embedded"], answers["neo4j"], strict=True):
        assert one.status_code == 200, one.text
        assert one.content == other.content


def images(folder, snapshot):
    return SnapshotFolder(folder / "snapshots").manifest(snapshot).images


def test_images_differ_in_the_time_they_were_stored_alone(published, server):
    login = {"user": server.user, "password": server.password}
    with (
        closing(open_store(str(published["embedded"] / "graph.sqlite"))) as one,
        closing(open_store(server.uri, **login, mirror=published["neo4j"] / "mirror")) as other,
    ):
        pages = [
            [(node.image_id, node.caption, node.attributes, node.dataset, node.split) for node in store.images(limit=1000)]
            for store in (one, other)
        ]
        assert pages[0] == pages[1]
        assert len(pages[0]) == 339
        assert one.counts() == other.counts()
