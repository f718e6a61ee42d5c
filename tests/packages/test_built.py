"""What is uploaded: the same bytes from any checkout, all of the sources and nothing else, metadata that PyPI takes and shows."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from io import StringIO
from pathlib import PurePosixPath

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from readme_renderer import markdown
from support.packages import DISTRIBUTIONS, ROOT, build

each_distribution = pytest.mark.parametrize("name", DISTRIBUTIONS)
COMMANDS = {
    "nbclip": "",
    "nbclip-kg-service": "[console_scripts]\nkg-service = kg_service.cli.main:main\n",
    "nbclip-trainer": "[console_scripts]\nnbclip = nbclip_trainer.cli.main:main\n",
}
DATA = {
    "nbclip": {".typed"},
    "nbclip-kg-service": {".css", ".cypher", ".grass", ".gz", ".html", ".js", ".json", ".md", ".sql", ".tsv", ".txt", ".typed"},
    "nbclip-trainer": {".css", ".j2", ".typed", ".yaml", ".zip"},
}
OTHERS = {f"src/kg_service/{file}" for file in ("linking/data/EDS-NLP-LICENSE.txt", "web/ui/dagre.LICENSE.txt")}
"""Licences of what others wrote in the service's package."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """As `make dist` builds them: wheels from the sdists."""
    return build(ROOT, tmp_path_factory.mktemp("built"))


def copy_of_the_workspace(root):
    """Without git's folder, with other times and permissions."""
    for name in (".gitignore", "pyproject.toml", "uv.lock"):
        shutil.copyfile(ROOT / name, root / name)
    for folder in DISTRIBUTIONS.values():
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in filter(lambda path: path.is_file(), root.rglob("*")):
        path.chmod(0o600)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return root


def version():
    return tomllib.loads((ROOT / "shared" / "pyproject.toml").read_text())["project"]["version"]


def stem(name):
    return f"{name.replace('-', '_')}-{version()}"


def wheel_of(built, name):
    with zipfile.ZipFile(built[f"{stem(name)}-py3-none-any.whl"]) as wheel:
        return {entry: wheel.read(entry) for entry in wheel.namelist()}


def sdist_of(built, name):
    """Files by their names below the folder that holds them all."""
    with tarfile.open(built[f"{stem(name)}.tar.gz"]) as sdist:
        return {
            str(PurePosixPath(member.name).relative_to(stem(name))): sdist.extractfile(member).read()
            for member in sdist.getmembers()
        }


def metadata_of(built, name):
    return Metadata.from_email(wheel_of(built, name)[f"{stem(name)}.dist-info/METADATA"], validate=True)


def sources(name):
    """What git has below src, or would take."""
    src = ROOT / DISTRIBUTIONS[name] / "src"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    names = subprocess.run(listed, cwd=src, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    return {name: (src / name).read_bytes() for name in names if (src / name).exists()}


def test_another_build_has_the_same_bytes(built, tmp_path):
    """In a copy elsewhere, of other times, permissions, time zone and language, without the way through the sdist."""
    (tmp_path / "copy").mkdir()
    copy = copy_of_the_workspace(tmp_path / "copy")
    again = build(copy, tmp_path / "again", "--sdist", "--wheel", TZ="Asia/Tokyo", LC_ALL="C")
    assert len(again) == 6
    digests = [{name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} for files in (built, again)]
    assert digests[0] == digests[1]


@each_distribution
def test_a_wheel_has_all_of_the_sources_and_nothing_else(built, name):
    inside, info = wheel_of(built, name), f"{stem(name)}.dist-info/"
    assert {entry: content for entry, content in inside.items() if not entry.startswith(info)} == sources(name)
    licences = {"LICENSE"} | (OTHERS if name == "nbclip-kg-service" else set())
    commands = {"entry_points.txt"} if COMMANDS[name] else set()
    assert {entry.removeprefix(info) for entry in inside if entry.startswith(info)} == {
        *("METADATA", "RECORD", "WHEEL"),
        *commands,
        *(f"licenses/{licence}" for licence in licences),
    }
    assert inside.get(f"{info}entry_points.txt", b"").decode() == COMMANDS[name]
    assert inside[f"{info}licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


@each_distribution
def test_data_of_each_kind_and_the_mark_of_types_are_among_the_sources(built, name):
    inside = wheel_of(built, name)
    module = next(iter(inside)).partition("/")[0]
    assert inside[f"{module}/py.typed"] == b""
    suffixes = {PurePosixPath(entry).suffix or PurePosixPath(entry).name for entry in inside if entry.startswith(f"{module}/")}
    assert {".typed" if suffix == "py.typed" else suffix for suffix in suffixes} - {".py"} == DATA[name]


@each_distribution
def test_an_sdist_has_what_a_wheel_is_built_of_and_nothing_else(built, name):
    beside = {".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    assert set(sdist_of(built, name)) == {f"src/{source}" for source in sources(name)} | beside


@each_distribution
def test_the_metadata_is_whole(built, name):
    found = metadata_of(built, name)
    assert (found.name, str(found.version)) == (name, version())
    assert found.summary
    assert len(found.keywords) >= 5
    assert found.requires_python == SpecifierSet(">=3.11,<3.15")
    assert found.license_expression == ("Apache-2.0 AND BSD-3-Clause AND MIT" if name == "nbclip-kg-service" else "Apache-2.0")
    assert found.author or found.author_email
    assert "Paper" in found.project_urls
    pythons = {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)}
    assert pythons | {"Typing :: Typed", "Operating System :: POSIX :: Linux", "Operating System :: MacOS"} <= set(
        found.classifiers
    )


@each_distribution
def test_the_sdist_says_what_the_wheel_says(built, name):
    assert sdist_of(built, name)["PKG-INFO"] == wheel_of(built, name)[f"{stem(name)}.dist-info/METADATA"]


@each_distribution
def test_the_readme_is_shown_as_it_is_meant(built, name):
    """By the renderer of PyPI, where links that are relative lead nowhere."""
    found, said = metadata_of(built, name), StringIO()
    assert found.description_content_type == "text/markdown"
    assert found.description == (ROOT / DISTRIBUTIONS[name] / "README.md").read_text(encoding="utf-8")
    page = markdown.render(found.description, stream=said)
    assert page is not None
    assert said.getvalue() == ""
    assert "pip install" in re.sub(r"<[^>]+>", "", page)
    assert "<table>" in page
    links = set(re.findall(r'(?:href|src)="([^"]+)"', page))
    assert any(link.startswith("https://") for link in links)
    assert {link for link in links if not link.startswith(("https://", "#"))} == set()


@each_distribution
def test_the_three_are_installed_at_one_version(built, name):
    needed = [requirement for requirement in metadata_of(built, name).requires_dist if requirement.name in DISTRIBUTIONS]
    assert [requirement.name for requirement in needed] == ([] if name == "nbclip" else ["nbclip"])
    assert all(requirement.specifier == SpecifierSet(f"=={version()}") for requirement in needed)


@each_distribution
def test_what_the_readme_calls_an_extra_is_one(built, name):
    found = metadata_of(built, name)
    table = re.findall(r"^\| (`.*?) \|", found.description, re.MULTILINE)
    assert {extra for cell in table for extra in re.findall(r"`(\w+)`", cell)} == set(found.provides_extra)
    asked = [Requirement(text) for text in re.findall(r"pip install '?([\w\[\],-]+)", found.description)]
    assert asked
    assert {requirement.name for requirement in asked} <= set(DISTRIBUTIONS)
