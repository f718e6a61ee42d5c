"""The repository's demo by the packages' wheels, on a copy of the example data outside of the repository."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from support.packages import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1600)]


def test_the_demo_runs_where_only_the_wheels_and_the_examples_are(outside, tmp_path, record_property):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    demo = ["bash", tmp_path / "examples" / "demo.sh", tmp_path / "out"]
    done = subprocess.run(demo, cwd=tmp_path, env=outside | {"EPOCHS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for run in ("clip", "nbclip", "noise"):
        scored = json.loads((tmp_path / "out" / run / "evaluation" / "metrics.json").read_text())
        assert any(figure["metric"] == "P@10" and figure["ranker"] == "model" for figure in scored["figures"])
        record_property("runs from wheels", 1)
    assert (tmp_path / "out" / "report.html").stat().st_size > 50_000
