"""CITATION.cff is valid, of this version, and cites the paper whose method this is."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_it_is_valid():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.citation-file-format", ROOT / "CITATION.cff"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_it_is_of_the_version_that_the_packages_have(citation):
    folders = ("shared", "kg_service", "trainer", ".")
    versions = {tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["version"] for folder in folders}
    assert versions == {citation["version"]}
    assert f"## [{citation['version']}] - {citation['date-released']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_paper_is_cited_as_the_packages_name_it(citation):
    [paper] = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Wei", "Kurtz", "Cloppet"]
    for folder in ("shared", "kg_service", "trainer"):
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        assert project["urls"]["Paper"] == paper["url"]
        assert f"[{paper['title']}]({paper['url']})" in (ROOT / folder / "README.md").read_text(encoding="utf-8")
