"""`pip install nbclip-trainer nbclip-kg-service` where nothing else is, and then the walk of the trainer's read-me."""

from __future__ import annotations

import json
import re
import socket
import subprocess

import pytest
from support.packages import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EPOCHS = 2


@pytest.fixture
def run(outside, tmp_path):
    """Runs a command in a folder of its own; what it printed."""

    def start(*command):
        done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return start


def walk(port):
    """The commands of the read-me, behind the line that installs."""
    [fence] = re.findall(r"```sh\n(.*?)```", (ROOT / "trainer" / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    installs, commands = fence.split("\n", 1)
    assert installs == "pip install nbclip-trainer nbclip-kg-service"
    assert commands.count("127.0.0.1:8080") == 1
    return commands.replace("8080", str(port)).replace("--set batch_size=32", f"--set batch_size=32 --set epochs={EPOCHS}")


def test_nothing_of_the_checkout_is_imported(run, commands):
    tells = "import json, sys, kg_service, nbclip, nbclip_trainer as t; print(json.dumps([*sys.path, *map(str, (%s))]))"
    places = json.loads(run(commands / "python", "-c", tells % "kg_service.__file__, nbclip.__file__, t.__file__"))
    assert all(str(commands.parent) in place for place in places[-3:])
    assert [place for place in places if place.startswith(str(ROOT))] == []


def test_the_walk_of_the_readme_trains_and_scores(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = f"trap 'kill $(jobs -p); wait' EXIT\nexport KG_PORT={port}\n{walk(port)}"
    run("bash", "-eu", "-c", script)
    folder = tmp_path / "example"
    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if record["kind"] == "train"]
    assert len(losses) == EPOCHS * 4  # of 141 training pairs
    scored = json.loads((folder / "run" / "evaluation" / "metrics.json").read_text())["figures"]
    assert {"Recall@5", "P@5"} <= {figure["metric"] for figure in scored if figure["ranker"] == "model"}
    assert (folder / "report.html").stat().st_size > 50_000
