"""What uv.lock may hold: nothing below the versions that close known holes."""

import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[3]
FLOORS = {"starlette": "1.0.1", "h11": "0.16", "torch": "2.10", "pillow": "12.3"}


@pytest.fixture(scope="module")
def locked():
    """Versions by package; a package may be there in several, one for each platform."""
    found = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
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
