"""Workflows of CI: pinned, with no more rights than they need; the one that publishes runs nothing of the checkout."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.packages import DISTRIBUTIONS, ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def jobs(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def test_zizmor_finds_nothing():
    zizmor = Path(sys.executable).parent / "zizmor"
    done = subprocess.run([zizmor, "--offline", "--quiet", FOLDER], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@each_workflow
def test_it_is_what_github_reads(path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_an_action_is_at_one_commit_and_says_which_release_that_is():
    lines = re.findall(r"uses: (.*)$", "\n".join(path.read_text() for path in WORKFLOWS), re.MULTILINE)
    pins = {re.fullmatch(r"([\w/-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line).groups() for line in lines}
    assert len(pins) == len({action for action, _, _ in pins}) > 4


def test_who_may_write_runs_nothing_but_pinned_actions():
    found = jobs(FOLDER / "release.yml")
    writing = {name for name, job in found.items() if "write" in job["permissions"].values()}
    assert writing == {"attest", "publish"}
    assert [step for name in writing for step in found[name]["steps"] if "run" in step] == []
    assert [name for path in WORKFLOWS for name, job in jobs(path).items() if job.get("permissions") == "write-all"] == []


def test_each_package_is_published_from_an_environment_of_its_own():
    found = jobs(FOLDER / "release.yml")
    uploads = [step["with"] for step in found["build"]["steps"] if "upload-artifact" in step.get("uses", "")]
    kept = {upload["name"]: upload["path"] for upload in uploads}
    assert kept == {name: f"dist/{name.replace('-', '_')}-*" for name in DISTRIBUTIONS}
    assert found["publish"]["strategy"]["matrix"]["package"] == list(DISTRIBUTIONS)
    assert found["publish"]["strategy"]["max-parallel"] == 1
    assert found["publish"]["environment"] == "pypi-${{ matrix.package }}"
