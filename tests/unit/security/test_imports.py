"""What is imported is declared, and what is private to another package is bounded above."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PACKAGES = {"shared": "nbclip", "kg_service": "kg_service", "trainer": "nbclip_trainer"}
PRIVATE = {
    "kg_service/api/serving": {"uvicorn"},
    "kg_service/batch/cluster": {"ray"},
    "kg_service/linking/scispacy/knowledge": {"scikit-learn"},
}
"""Where attributes that begin with `_` are taken from what others made, and whose they are."""
NAMED = {"_replace", "_asdict", "_exit"}
"""Attributes of named tuples and of `os` that are public in spite of their names."""


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(folder):
    """All that a distribution may ask for: its dependencies and those of its extras."""
    settings = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())
    extras = settings["project"].get("optional-dependencies", {}).values()
    return [Requirement(line) for line in chain(settings["project"]["dependencies"], *extras)]


def trees(folder):
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def undeclared(folder, declared, own):
    """Imports of no declared distribution, by module; a module that no installed distribution has counts by its own name."""
    owners = packages_distributions()
    return {
        (module, str(path.relative_to(ROOT)))
        for path, tree in trees(folder)
        for module in set(imported(tree)) - own(path) - {*sys.stdlib_module_names, "_typeshed"}
        if declared.isdisjoint(map(normalised, owners.get(module, [module])))
    }


@pytest.mark.parametrize("folder", PACKAGES)
def test_what_a_distribution_imports_it_declares(folder):
    declared = {normalised(requirement.name) for requirement in requirements(folder)}
    assert undeclared(ROOT / folder / "src", declared, lambda path: {PACKAGES[folder]}) == set()


def test_what_tests_import_is_declared_by_what_they_test_or_by_their_groups():
    settings = [tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in ("", *PACKAGES)]
    groups = [Requirement(line) for each in settings for group in each.get("dependency-groups", {}).values() for line in group]
    declared = {normalised(requirement.name) for requirement in chain(groups, *map(requirements, PACKAGES))}
    own = {*PACKAGES.values(), *(path.stem for folder in (ROOT, ROOT / "tests") for path in folder.iterdir())}
    assert undeclared(ROOT / "tests", declared, lambda path: own | {beside.stem for beside in path.parent.glob("*.py")}) == set()


def private_names(tree):
    """Attributes that begin with one underscore, but for this object's, named tuples' and spaCy's own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr) and node.attr not in NAMED:
            if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}):
                yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.name.startswith("_") and not node.level)


def defined(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


@pytest.mark.parametrize("folder", PACKAGES)
def test_private_attributes_of_other_packages_are_only_where_they_are_bounded(folder):
    own = {name for _, tree in trees(ROOT / folder / "src") for name in defined(tree)}
    used = {
        (str(path.relative_to(ROOT / folder / "src")), name)
        for path, tree in trees(ROOT / folder / "src")
        for name in private_names(tree)
        if name not in own
    }
    assert {each for each in used if not each[0].startswith(tuple(PRIVATE))} == set()


@pytest.mark.parametrize("distribution", sorted(set().union(*PRIVATE.values())))
def test_whose_private_attributes_are_used_is_bounded_above(distribution):
    [requirement] = [each for each in requirements("kg_service") if each.name == distribution]
    assert any(bound.operator == "<" for bound in requirement.specifier)
