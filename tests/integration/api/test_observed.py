"""Alert rules and dashboard on a real Prometheus that asks real services: a renamed metric leaves an expression empty."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from kg_service.app.keys import add_key
from support.prometheus import DEPLOYED, Prometheus, configured, find_prometheus
from support.service import Service
from support.tcp import free_port
from support.waiting import eventually

from deploy.grafana.build import DASHBOARD, built

PAGE = Path(__file__).parents[3] / "docs" / "observe.md"
RULES = [rule for group in yaml.safe_load((DEPLOYED / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
QUERIES = [
    (panel["title"], target["expr"])
    for panel in json.loads(DASHBOARD.read_text())["panels"]
    for target in panel.get("targets", ())
]
EVERY, SCRAPED = "250ms", 3
OF_OTHERS = re.compile(r"(process|python|scrape)_.*|up|ALERTS.*|.*_created")
GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)")
SELECTOR = re.compile(r"\b([a-z_]{2,})(?![a-z_]*\s*\()(\{[^}]*\})?")
WORDS = {"and", "or", "unless"}


@pytest.fixture(scope="module")
def programs():
    return find_prometheus()


@pytest.fixture(scope="module")
def services(tmp_path_factory, published, vocabulary_folder):
    """One that serves a snapshot and one that has none, after a day's kinds of requests in small; and a key that reads."""
    folder = tmp_path_factory.mktemp("observed")
    shutil.copytree(published, folder / "data")
    (folder / "empty").mkdir()
    key = {scope: add_key(folder / "keys.json", f"{scope}er", [scope]) for scope in ("read", "ingest")}
    settings = {"KG_VOCABULARY": str(vocabulary_folder), "KG_KEYS_FILE": str(folder / "keys.json")}
    with contextlib.ExitStack() as stack:

        def start(name):
            return stack.enter_context(contextlib.closing(Service(folder / name, settings, port=free_port())))

        served, empty = start("data"), start("empty")
        statuses = [status for _ in range(2) for status in ask(served, empty, key)]
        assert statuses == 2 * [200, 200, 200, 202, 401, 503, 503]
        yield [served, empty], key["read"]


def ask(served, empty, key):
    """The statuses of a request of each kind."""
    reads, ingests = ({"authorization": f"Bearer {key[scope]}"} for scope in ("read", "ingest"))
    batch = {"image_ids": ["effusion", "pneumonia", "fracture"]}
    rows = "image_id,caption\nnew,Pleural effusion.\n"
    item = {"image_id": "other", "caption": "Pneumonia."}
    yield served.client.post("/v1/targets", json=batch, headers=reads).status_code
    yield served.client.post("/v1/link", json={"captions": ["Pleural effusion."]}, headers=reads).status_code
    yield served.client.post("/v1/images", json={"items": [item]}, headers=ingests).status_code
    yield served.client.post("/v1/jobs/ingest", content=rows, headers={**ingests, "content-type": "text/csv"}).status_code
    yield served.client.post("/v1/targets", json=batch).status_code
    yield empty.client.post("/v1/targets", json=batch, headers=reads).status_code
    yield empty.client.get("/readyz?for=targets").status_code


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, programs, services):
    folder, (running, key) = tmp_path_factory.mktemp("prometheus"), services
    config = configured(folder, [service.url.removeprefix("http://") for service in running], key, EVERY)
    subprocess.run([programs.promtool, "check", "config", config], check=True, capture_output=True)
    with Prometheus(programs, folder, config) as prometheus:
        eventually(lambda: prometheus.query(f"count(sum_over_time(up[1m]) >= {SCRAPED}) == 2"), 20)
        yield prometheus


def test_every_alert_is_tried_and_the_configuration_is_valid(programs):
    tried = yaml.safe_load((DEPLOYED / "alerts.test.yml").read_text())["tests"]
    called = [{case["alertname"] for case in each["alert_rule_test"] if case.get("exp_alerts")} for each in tried]
    silent = [{case["alertname"] for case in each["alert_rule_test"] if not case.get("exp_alerts")} for each in tried]
    assert set.union(*called) == set.union(*silent) == {rule["alert"] for rule in RULES}
    for check in (["check", "config", "--syntax-only", "prometheus.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run([programs.promtool, *check], cwd=DEPLOYED, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_what_is_built():
    assert DASHBOARD.read_text() == built(), "write it again: uv run python deploy/grafana/build.py"


def test_every_expression_of_the_dashboard_gives_series(prometheus):
    asked = [(title, expr.replace("$__rate_interval", "1m").replace("$instance", ".*")) for title, expr in QUERIES]
    assert len(asked) >= 25
    assert not any("$" in expr for _, expr in asked)
    assert [title for title, expr in asked if not prometheus.query(expr)] == []


def test_every_metric_of_the_alerts_gives_series(prometheus):
    for rule in RULES:
        selectors = [name + labels for name, labels in SELECTOR.findall(GROUPING.sub("", rule["expr"])) if name not in WORDS]
        assert selectors, rule["alert"]
        # Only what did not happen has no series of its own: its metric has, by other labels.
        never = {'{status="429"}'} if rule["alert"] == "Refusing" else set()
        empty = [each for each in selectors if not prometheus.query(each)]
        assert {each.removeprefix("http_requests_total") for each in empty} <= never, rule["alert"]


def test_prometheus_finds_the_service_without_a_snapshot(prometheus, services):
    (served, empty), _ = services
    (rule,) = (rule for rule in RULES if rule["alert"] == "NoSnapshot")
    assert [found["metric"]["instance"] for found in prometheus.query(rule["expr"])] == [empty.url.removeprefix("http://")]
    (current,) = prometheus.query("snapshot_current_info")
    assert current["metric"]["instance"] == served.url.removeprefix("http://")


def test_rows_are_counted_by_image(prometheus):
    assert {found["value"][1] for found in prometheus.query("target_rows_total")} == {"6", "0"}


def test_the_page_lists_every_metric(prometheus):
    listed = set(re.findall(r"^\| `([a-z_]+)`", PAGE.read_text(), re.M))
    found = {each["metric"]["__name__"] for each in prometheus.query('{job="kg-service"}')}
    own = {re.sub(r"_(bucket|count|sum)$", "", name) for name in found if not OF_OTHERS.fullmatch(name)}
    assert own == listed
