"""What a user has after `docker compose up`."""

from __future__ import annotations

import csv
import json
import math
import threading

import pytest
from support.compose import ROOT, is_confined, output

pytestmark = pytest.mark.timeout(2400)

PAIRS = ("radiology-open/metadata.csv", "rocov2/metadata.csv")


def demo_rows(split=None):
    for name in PAIRS:
        with (ROOT / "examples" / name).open(newline="") as stream:
            yield from (row for row in csv.DictReader(stream) if split in (None, row["split"]))


@pytest.fixture(scope="module")
def batch():
    """Ids that the snapshot has."""
    return {"image_ids": [row["image_id"] for row in demo_rows("train")][::50]}


@pytest.fixture
def image_count(product):
    def count():
        (row,) = product.query("MATCH (image:Image) RETURN count(image) AS images")
        return row["images"]

    return count


def test_every_service_is_healthy_and_the_load_is_done(product):
    states = {name: container["State"] for name, container in product.containers().items()}
    assert {name: state["Health"]["Status"] for name, state in states.items() if state["Running"]} == {
        "neo4j": "healthy",
        "kg-service": "healthy",
    }
    assert states["load"]["ExitCode"] == 0


def test_target_rows_sum_to_one(service, batch):
    answer = service.post("/targets", json=batch)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["values"]
    assert len(rows) == len(batch["image_ids"])
    assert all(math.isclose(sum(row), 1, abs_tol=1e-5) for row in rows)


def test_neo4j_holds_every_image_of_the_example_data(image_count):
    assert image_count() == len(list(demo_rows()))


def test_a_key_is_needed_and_the_trainers_only_reads(product, service, batch):
    anonymous = {"headers": {"authorization": ""}}
    assert service.post("/targets", json=batch, **anonymous).status_code == 401
    assert service.post("/images", json={"items": [{"image_id": "x", "caption": "x"}]}).status_code == 403


def test_another_host_name_is_refused(service):
    assert service.get("/livez", headers={"host": "example.org"}).status_code == 400


def test_containers_are_confined(product):
    for name, container in product.containers().items():
        assert is_confined(container), name
        assert container["HostConfig"]["PidsLimit"] <= 512, name
    for name in ("neo4j", "kg-service"):
        status = dict(line.split(":\t", 1) for line in product.compose("exec", name, "cat", "/proc/1/status").splitlines())
        assert status["Uid"].split()[0] != "0", name
        assert int(status["CapEff"], 16) == 0, name
        assert status["NoNewPrivs"] == "1", name


def test_no_secret_is_in_what_docker_shows(product):
    shown = json.dumps(product.containers()) + product.compose("logs", "--no-color") + product.compose("top")
    for file in product.secrets.glob("*_*"):
        assert file.read_text() not in shown, file.name


def reaches(product, network, host, port):
    """Whether a container in this network can connect."""
    attempt = f"""
import socket
try:
    socket.create_connection(({host!r}, {port}), 5)
except OSError:
    print("refused")
else:
    print("reached")
"""
    container = ["docker", "run", "--rm", "--network", f"{product.project}_{network}", "--entrypoint", "python"]
    answer = output(*container, product.containers()["kg-service"]["Config"]["Image"], "-c", attempt).strip()
    assert answer in {"reached", "refused"}
    return answer == "reached"


def test_the_trainer_reaches_the_service_and_not_neo4j(product):
    neo4j = product.containers()["neo4j"]["NetworkSettings"]["Networks"][f"{product.project}_graph"]["IPAddress"]
    assert reaches(product, "training", "kg-service", 8080)
    assert not reaches(product, "training", "neo4j", 7687)
    assert not reaches(product, "training", neo4j, 7687)
    assert reaches(product, "graph", "neo4j", 7687)


def test_another_up_changes_nothing(product, service, image_count):
    before = image_count(), service.get("/info").json()["snapshot"]
    product.compose("up", "--detach", "--wait")
    assert (image_count(), service.get("/info").json()["snapshot"]) == before
    load = product.containers()["load"]["State"]
    printed = product.compose("logs", "--no-color", "--since", load["StartedAt"], "load")
    assert "snapshot" in printed
    assert "unchanged" not in printed


@pytest.fixture
def asking(product, batch):
    """Asks for targets without a pause; in the end gives all statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def ask():
        with product.service("trainer") as client:
            while not over.is_set():
                statuses.append(client.post("/targets", json=batch).status_code)

    def stop():
        over.set()
        thread.join()
        return statuses

    thread = threading.Thread(target=ask)
    thread.start()
    yield stop
    stop()


def test_targets_are_answered_while_neo4j_restarts_and_ingest_works_after_it(product, service, batch, image_count, asking):
    before, first = image_count(), service.post("/targets", json=batch).content
    output("docker", "restart", product.containers()["neo4j"]["Id"])
    product.compose("up", "--detach", "--wait", "neo4j", "kg-service")
    statuses = asking()
    assert len(statuses) > 20
    assert set(statuses) == {200}
    assert service.post("/targets", json=batch).content == first
    with product.service("admin") as admin:
        answer = admin.post("/images", json={"items": [{"image_id": "after", "caption": "Chest X-ray: pleural effusion."}]})
    assert answer.status_code == 200, answer.text
    assert image_count() == before + 1


def test_the_service_stops_before_docker_kills_it(product):
    product.compose("stop", "kg-service")
    assert product.containers()["kg-service"]["State"]["ExitCode"] == 0
    product.compose("up", "--detach", "--wait")


def test_without_secrets_nothing_starts_and_the_message_says_what_to_do():
    with pytest.raises(RuntimeError, match="make secrets"):
        output("docker", "compose", "up", variables={"NBCLIP_SECRETS": ""})


def test_compose_takes_every_profile(product):
    services = json.loads(product.compose("--profile", "*", "config", "--format", "json"))["services"]
    (device,) = services["trainer-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert {"trainer", "trainer-gpu", "neo4j", "load", "kg-service", "ray-head", "ray-worker", "batch"} == set(services)
