"""What is damaged is named by file, and not by where this machine keeps it."""

import pytest
from kg_service.app.own_paths import without_own_paths
from kg_service.config import Settings
from kg_service.jobs.model import IngestOrder, Progress
from kg_service.jobs.receiving import receiving

DAMAGED = "images.id_bytes.npy"


def flip(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.fixture
def damaged(data):
    (snapshot,) = (each.parent for each in (data / "snapshots").glob("*/manifest.json"))
    flip(snapshot / DAMAGED)
    return snapshot


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/readyz", 200),
        ("GET", "/readyz?for=targets", 503),
        ("POST", "/targets", 500),
        ("GET", "/snapshots/{}/embeddings", 500),
    ],
)
def test_a_damaged_file_is_named_from_the_data_folder_on_and_in_full_in_the_log(
    service, data, damaged, capsys, method, path, status
):
    client = service()
    capsys.readouterr()
    answer = client.request(method, path.format(damaged.name), json={"image_ids": ["effusion"]} if method == "POST" else None)
    assert answer.status_code == status
    assert f"snapshots/{damaged.name}/{DAMAGED} is not the file" in answer.text
    assert str(data) not in answer.text
    assert str(damaged / DAMAGED) in capsys.readouterr().out


def test_a_damaged_graph_and_a_vocabulary_elsewhere_are_too(service, data, tmp_path):
    (data / "graph.sqlite").write_bytes(b"no graph" * 1_000)
    answer = service(vocabulary=tmp_path / "nothing").get("/readyz")
    assert answer.status_code == 503
    assert {"graph.sqlite" in each["message"] for each in answer.json()["errors"] if each["where"] == "store"} == {True}
    assert str(tmp_path) not in answer.text


def test_a_damaged_job_is_named_by_its_folder(service, data):
    with receiving(data / "jobs", IngestOrder(format="csv")) as spooled:
        spooled.write(b"image_id,caption\n")
        job = spooled.keep()
    (job.folder / "order.json").write_text("{}")
    answer = service().get(f"/jobs/{job.id}")
    assert answer.status_code == 500
    assert f"jobs/{job.id} is damaged" in answer.json()["detail"]
    assert str(data) not in answer.text


def test_why_a_job_failed_names_no_folder(service, data):
    with receiving(data / "jobs", IngestOrder(format="csv")) as spooled:
        spooled.write(b"image_id,caption\n")
        job = spooled.keep()
    job.save(Progress(state="failed", error=f"{data}/graph.sqlite is damaged", hint=f"move {data}/graph.sqlite away"))
    shown = service().get(f"/jobs/{job.id}").json()
    assert (shown["error"], shown["hint"]) == ("graph.sqlite is damaged", "move graph.sqlite away")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/srv/kg/data/snapshots/a/b.npy is missing", "snapshots/a/b.npy is missing"),
        ("can't write to /srv/kg/data", "can't write to data"),
        ("[Errno 13] denied: '/srv/kg/data/graph.sqlite'", "[Errno 13] denied: 'graph.sqlite'"),
        ("/elsewhere/keys.json and /elsewhere/keys.json.old", "keys.json and keys.json.old"),
        ("/srv/kg/database/x and /mnt/srv/kg/data/x", "/srv/kg/database/x and /mnt/srv/kg/data/x"),
        ("/docs has the schema, POST /jobs/ingest, 3/4", "/docs has the schema, POST /jobs/ingest, 3/4"),
        ("", ""),
    ],
)
def test_only_folders_of_the_settings_are_left_out(text, told):
    settings = Settings(data="/srv/kg/data", keys_file="/elsewhere/keys.json", store="neo4j://somewhere:7687")
    assert without_own_paths(text, settings) == told
