"""The check of a tag before it is published: a whole release passes, and each thing amiss is named with its way out."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
REPOSITORY = "https://example.org/somebody/nbclip"
VERSION = "0.2.0"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("release", ROOT / "deploy" / "release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path):
    """This one's files, as CONTRIBUTING.md says to change them for a release."""
    for folder in ("shared", "kg_service", "trainer"):
        text = (ROOT / folder / "pyproject.toml").read_text(encoding="utf-8")
        text = re.sub(r'^version = ".*"$', f'version = "{VERSION}"', text, count=1, flags=re.MULTILINE)
        text = re.sub(r"(nbclip\[[a-z,]+\])==[\d.]+", rf"\1=={VERSION}", text)
        text = re.sub(r"^Repository = .*\n", "", text, flags=re.MULTILINE)
        write(
            tmp_path / folder / "pyproject.toml", text.replace("[project.urls]", f'[project.urls]\nRepository = "{REPOSITORY}"')
        )
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    write(tmp_path / "CITATION.cff", re.sub(r"^version: .*$", f"version: {VERSION}", citation, flags=re.MULTILINE))
    write(tmp_path / "CHANGELOG.md", f"# Changelog\n\n## [Unreleased]\n\n## [{VERSION}] - 2027-01-31\n\n### Added\n- More.\n")
    (tmp_path / "tests" / "compatibility" / VERSION).mkdir(parents=True)
    for name in ("nbclip", "nbclip_kg_service", "nbclip_trainer"):
        write(tmp_path / "dist" / f"{name}-{VERSION}-py3-none-any.whl", "")
        write(tmp_path / "dist" / f"{name}-{VERSION}.tar.gz", "")
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def complaints(script, checkout, tag=f"v{VERSION}", repository=REPOSITORY):
    return list(script.complaints(checkout, tag, repository, checkout / "dist"))


def test_a_whole_release_passes(script, checkout):
    assert complaints(script, checkout) == []


AMISS = [
    ("shared/pyproject.toml", f'"{VERSION}"', '"0.1.9"', "version 0.1.9, the tag is v0.2.0: set one or the other"),
    ("trainer/pyproject.toml", f"=={VERSION}", ">=0.1", "needs nbclip[client,parquet,remote,torch]>=0.1, expected ==0.2.0"),
    ("kg_service/pyproject.toml", REPOSITORY, "None", f"[project.urls] Repository is None, expected {REPOSITORY}"),
    ("CITATION.cff", f"version: {VERSION}\n", "version: 0.1.0\n", "expected version: 0.2.0"),
    ("CHANGELOG.md", f"[{VERSION}]", "[0.1.9]", "no section [0.2.0]"),
    ("CHANGELOG.md", "[Unreleased]\n", "[Unreleased]\n- Not yet.\n", "[Unreleased] has entries: move them to [0.2.0]"),
]


@pytest.mark.parametrize(("file", "old", "new", "complaint"), AMISS)
def test_what_is_amiss_is_named(script, checkout, file, old, new, complaint):
    replace(checkout / file, old, new)
    assert complaints(script, checkout) == [f"{file}: {complaint}"]


def test_files_that_are_missing_or_of_another_version_are_named(script, checkout):
    (checkout / "dist" / f"nbclip-{VERSION}.tar.gz").rename(checkout / "dist" / "nbclip-0.1.0.tar.gz")
    (checkout / "tests" / "compatibility" / VERSION).rmdir()
    assert complaints(script, checkout) == [
        "tests/compatibility/0.2.0 is missing: python tests/compatibility/record.py tests/compatibility/0.2.0",
        f"{checkout}/dist/nbclip-0.2.0.tar.gz is missing: make dist",
        f"{checkout}/dist/nbclip-0.1.0.tar.gz is no file of this release: remove it",
    ]


def test_the_command_ends_with_1_and_a_line_for_each_complaint(script, capsys, tmp_path):
    assert script.main(["v99.0.0", "--repository", REPOSITORY, str(tmp_path)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) > 10
    assert all(line.startswith("error: ") for line in said)
