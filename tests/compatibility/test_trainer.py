"""Runs, settings and recorded answers of former versions, before today's trainer."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import yaml
from compatibility.likeness import differences
from nbclip_trainer.evaluation.ontology import service_ontology
from nbclip_trainer.targets.service import connect, service_client
from nbclip_trainer.targets.settings import ServiceSettings, TargetSettings

LOSS_TOLERANCE = 1e-3


def records(path, kind):
    return [record for record in map(json.loads, path.read_text().splitlines()) if record["kind"] == kind]


def figures(folder):
    found = json.loads((folder / "evaluation" / "metrics.json").read_text())["figures"]
    names = ("ranker", "direction", "task", "subset", "metric")
    return {" ".join(figure[name] for name in names): figure["value"] for figure in found}


def test_a_run_is_reported_evaluated_exported_and_goes_on(copied, nbclip):
    before = figures(copied / "run")
    nbclip("report", "run", "--out", "report.html")
    assert "run" in (copied / "report.html").read_text()

    nbclip("evaluate", "run", "--data", "input/metadata.csv", "--min-class-size", "3", "--device", "cpu")
    now = figures(copied / "run")
    assert {name: now[name] for name in before} == pytest.approx(before, abs=LOSS_TOLERANCE, nan_ok=True)

    nbclip("export", "run", "--out", "exported")
    assert (copied / "exported" / "open_clip_model.safetensors").stat().st_size > 0

    nbclip("train", "--resume", "--run", "run", "--data", "input/metadata.csv")
    for kind in ("train", "valid"):
        straight, resumed = (
            {record["step"]: record["loss"] for record in records(path, kind)}
            for path in (copied / "expected" / "metrics.jsonl", copied / "run" / "metrics.jsonl")
        )
        assert resumed == pytest.approx(straight, abs=LOSS_TOLERANCE)


def test_settings_in_a_file_keep_their_keys_and_values(copied, nbclip):
    for path in sorted((copied / "settings").glob("*.yaml")):
        before, now = (yaml.safe_load(text) for text in (path.read_text(), nbclip("presets", path)))
        # 0.1.0 wrote the parameters of every loss, at their defaults.
        others = [before["loss"].pop(name) for name in before["loss"].keys() - now["loss"].keys()]
        assert sorted(others, key=str) == [0.5, 0.5, "cos"]
        assert list(differences(before, now)) == []


class Recorded:
    """The answers that a former service gave to a trainer, by method, path and image ids."""

    def __init__(self, folder):
        self.answers, self.paths = {}, {}
        for path in folder.glob("*-trainer-*.json"):
            held = json.loads(path.read_text())
            request, answer = held["request"], held["answer"]
            tensors = path.with_suffix(".safetensors")
            body = tensors.read_bytes() if tensors.exists() else json.dumps(answer["json"]).encode()
            ids = request.get("json", {}).get("image_ids", ())
            self.answers[request["method"], request["path"], tuple(ids)] = answer["status"], answer["headers"], body
            self.paths[path.stem.partition("-")[2]] = request, body

    def start(self):
        recorded = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                text = self.rfile.read(int(self.headers.get("content-length", 0)))
                ids = tuple(json.loads(text)["image_ids"]) if text else ()
                # It had no paths of a version.
                nothing = 404, {"content-type": "application/problem+json"}, b"{}"
                status, headers, body = recorded.answers.get((self.command, self.path, ids), nothing)
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.do_POST()

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server


@pytest.fixture
def service(recorded, monkeypatch):
    """A former service: its recorded answers, and where it answers with them."""
    monkeypatch.delenv("NBCLIP_SERVICE_KEY", raising=False)
    held = Recorded(recorded / "wire" / "full")
    server = held.start()
    yield held, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_former_service_serves_todays_trainer_matrices_and_vectors(service):
    held, url = service
    ids = held.paths["trainer-matrix"][0]["json"]["image_ids"]
    similarity = {}
    for mode in ("matrix", "representations"):
        source = connect(ServiceSettings(url=url), TargetSettings(knowledge="dk_ek", mode=mode))
        assert source.snapshot.id == held.paths["trainer-matrix"][0]["json"]["snapshot"]
        coverage = source.coverage(ids)
        assert (coverage.unknown, coverage.without_knowledge) == ([], 0)
        similarity[mode] = source.fetch(ids, ids)
        source.close()
    vectors = similarity["representations"]
    dense = np.zeros((len(ids), vectors.columns), np.float32)
    for row in range(len(ids)):
        entries = slice(vectors.indptr[row], vectors.indptr[row + 1])
        dense[row, vectors.indices[entries]] = vectors.data[entries]
    whole = np.concatenate([dense, vectors.dense], axis=1)
    np.testing.assert_allclose(whole @ whole.T, similarity["matrix"].values, atol=2e-3)


def test_a_former_service_tells_todays_evaluation_what_stands_above_a_concept(service):
    held, url = service
    before = json.loads(held.paths["trainer-ancestors"][1])
    with service_client(url) as client:
        ancestors = service_ontology(client).ancestors([before["cui"]])
    assert ancestors == {before["cui"]: frozenset(concept["cui"] for concept in before["ancestors"])}
    assert ancestors[before["cui"]]
