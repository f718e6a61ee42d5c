"""What uv.lock may hold: nothing below the versions that close known holes, and numpy below 2 for scispacy alone."""

import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[3]
FLOORS = {"starlette": "1.0.1", "h11": "0.16", "torch": "2.10", "pillow": "12.3"}


WITH_SCISPACY = "extra == 'extra-17-nbclip-kg-service-scispacy'"


@pytest.fixture(scope="module")
def packages():
    return tomllib.loads((ROOT / "uv.lock").read_text())["package"]


@pytest.fixture(scope="module")
def locked(packages):
    """Versions by package; a package may be there in several, one for each platform."""
    found = {}
    for package in packages:
        if "version" in package:
            found.setdefault(package["name"], []).append(Version(package["version"]))
    return found


@pytest.mark.parametrize(("package", "floor"), FLOORS.items())
def test_a_package_is_not_older_than_its_last_hole(locked, package, floor):
    assert min(locked[package]) >= Version(floor)


def test_the_floors_hold_in_a_new_lock_too():
    constraints = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    assert {f"{package}>={floor}" for package, floor in FLOORS.items()} <= set(constraints)


def test_no_parser_of_forms_is_there(locked):
    assert "python-multipart" not in locked


def test_numpy_below_2_is_for_scispacy_alone(packages, locked):
    """Each edge to it from a package of this workspace is under the extra, which the group dev excludes."""
    edges = [
        edge
        for package in packages
        if package["name"].startswith("nbclip")
        for edge in package["dependencies"]
        if edge["name"] == "numpy" and Version(edge["version"]) < Version("2")
    ]
    assert edges
    assert all(WITH_SCISPACY in clause for edge in edges for clause in edge["marker"].split(" or "))
    assert max(locked["numpy"]) >= Version("2")


def test_this_environment_has_numpy_2_and_no_scispacy():
    assert Version(version("numpy")) >= Version("2")
    assert find_spec("scispacy") is None
