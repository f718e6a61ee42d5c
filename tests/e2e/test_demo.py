"""The demo as a user runs it: every command of it, on the example data and the pretrained towers that `make weights` fetches."""

from __future__ import annotations

import html
import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The first test to run waits for the whole demo.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1600)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    finished = subprocess.run(
        ["bash", "examples/demo.sh", folder],
        cwd=ROOT,
        env={**os.environ, "PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder, finished.stdout


def records(folder, run, kind):
    lines = (folder / run / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def test_the_report_is_written_and_its_path_printed(demo):
    folder, printed = demo
    assert str(folder / "report.html") in printed.splitlines()[-1]
    assert (folder / "report.html").stat().st_size > 50_000


def test_every_batch_asked_the_service_for_its_targets(demo):
    folder, _ = demo
    steps = len(records(folder, "nbclip", "train"))
    answered = re.findall(r"method=POST .*route=/targets status=200", (folder / "service.log").read_text())
    assert steps > 0
    assert len(answered) >= steps


@pytest.mark.parametrize("run", ["clip", "nbclip"])
def test_the_models_learn(demo, run):
    folder, _ = demo
    # With soft targets the least loss is their entropy; what training can take away is the rest, kl.
    reducible = [record.get("kl", record["loss"]) for record in records(folder, run, "train")]
    assert sum(reducible[-10:]) < 0.8 * sum(reducible[:10])
    last = records(folder, run, "diagnostics")[-1]
    assert last["cosine_spread"] > 0.03
    assert not records(folder, run, "alarm")


def mean_precision(folder, run, ranker):
    """Image to image P@10, mean of modality, organ and modality-organ."""
    figures = json.loads((folder / run / "evaluation" / "metrics.json").read_text())["figures"]
    chosen = {
        figure["task"]: figure["value"]
        for figure in figures
        if (figure["ranker"], figure["direction"], figure["subset"], figure["metric"]) == (ranker, "image→image", "all", "P@10")
    }
    assert set(chosen) == {"modality", "organ", "modality_organ"}
    return sum(chosen.values()) / 3


@pytest.mark.parametrize("run", ["clip", "nbclip", "noise"])
def test_retrieval_beats_frozen_features_raw_pixels_and_chance(demo, run):
    folder, _ = demo
    ranked = [mean_precision(folder, run, ranker) for ranker in ("model", "backbone", "raw pixels", "chance")]
    assert ranked == sorted(ranked, reverse=True)


def test_the_report_sets_nbclip_beside_clip_with_paired_intervals(demo):
    folder, _ = demo
    page = html.unescape(re.sub(r"<[^>]+>", " ", (folder / "report.html").read_text()))
    for part in ("nbclip", "noise", "clip", "frozen features", "raw pixels", "chance", "Modality-organ", "P@30", "cui_onto"):
        assert part in page
    intervals = re.findall(r"\[\s*[+−-]?\.\d{3}\s*,\s*[+−-]?\.\d{3}\s*\]", page)
    assert len(intervals) >= 2 * 3 * 3 * 3  # runs against the baseline, directions, kinds of classes, K
