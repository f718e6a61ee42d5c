"""What the pods of `deploy/kubernetes` run, run here: jobs publish, and a replica serves it."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from kg_service.app.keys import add_key
from support.batches import NAMES, small_vocabulary
from support.manifests import REPLICA, container, environment, named
from support.service import Service
from support.tcp import free_port


@pytest.fixture
def cluster(tmp_path):
    """Runs what a pod runs, with the folders of this test where its volumes are mounted."""
    (tmp_path / "captions").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kg-service").symlink_to(Path(sys.executable).with_name("kg-service"))

    def here(text):
        return re.sub(r"(?<![\w/])/(data|captions|tmp|etc)\b", rf"{tmp_path}/\1", text)

    def variables(pod):
        plain = {name: value for name, value in os.environ.items() if not name.startswith("KG_")}
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        return plain | {name: here(value) for name, value in environment(pod).items()} | {"PATH": path}

    def run(job, **more):
        pod = named("Job", job)["spec"]["template"]
        only = container(pod)
        command = [*only.get("command", ["kg-service"]), *only.get("args", [])]
        # Kernels that are compiled already spare the test half a minute of CPU; the replica below compiles its own.
        known = {name: value for name, value in variables(pod).items() if name != "NUMBA_CACHE_DIR"}
        done = subprocess.run([here(word) for word in command], env=known | more, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.variables = variables
    return run


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_jobs_publish_and_a_replica_serves_it(cluster, tmp_path):
    shutil.move(small_vocabulary(tmp_path / "made"), tmp_path / "data" / "vocabulary")
    captions = "".join(f"image-{place},{list(NAMES.values())[place % 6]}\n" for place in range(24))
    (tmp_path / "captions" / "some.csv").write_text(f"image_id,caption\n{captions}")
    cluster("kg-batch-plan")
    for index in (0, named("Job", "kg-batch-run")["spec"]["completions"] - 1):
        cluster("kg-batch-run", JOB_COMPLETION_INDEX=str(index))
    published = cluster("kg-batch-publish").strip()
    (tmp_path / "etc" / "kg").mkdir(parents=True)
    key = add_key(tmp_path / "etc" / "kg" / "keys.json", "trainers", ["read"])
    pod, listed = REPLICA, sorted((tmp_path / "data").rglob("*"))
    assert container(pod)["args"] == ["serve"]
    settings = {name: value for name, value in cluster.variables(pod).items() if name in environment(pod)}
    with closing(Service(tmp_path / "data", settings, port=free_port())) as replica:
        replica.client.headers.update({"authorization": f"Bearer {key}", "host": named("Service")["metadata"]["name"]})
        assert replica.client.get("/readyz?for=targets").status_code == 200
        assert replica.client.get("/v1/info").json()["snapshot"] == published
        answer = replica.client.post("/v1/targets", json={"image_ids": ["image-0", "image-6"]}).json()
        assert answer["values"] == [[0.5, 0.5], [0.5, 0.5]]
    assert sorted((tmp_path / "data").rglob("*")) == listed
    assert any((tmp_path / "tmp" / "numba").rglob("*.nbi"))
