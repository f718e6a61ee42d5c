"""Says why a tag can't be released, or nothing: the workflow `release` runs it before anything is published.

    python deploy/release.py v0.2.0 --repository https://github.com/OWNER/NAME dist

DIST holds what `make dist` built. Ends with 1 if there are complaints.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDERS = ("shared", "kg_service", "trainer")


def complaints(root: Path, tag: str, repository: str, dist: Path) -> Iterator[str]:
    """What is wrong, a line each.

    Args:
        root: the checkout.
        tag: `v` and the version.
        repository: the address that the packages must name.
        dist: the folder of wheels and sdists.
    """
    projects = {folder: _project(root / folder) for folder in FOLDERS}
    version = tag.removeprefix("v")
    for folder, project in projects.items():
        if project["version"] != version:
            yield f"{folder}/pyproject.toml: version {project['version']}, the tag is {tag}: set one or the other"
        own = [need for need in project["dependencies"] if re.match(r"nbclip\b", need) and not need.endswith(f"=={version}")]
        yield from (f"{folder}/pyproject.toml: needs {need}, expected =={version}" for need in own)
        if (named := project.get("urls", {}).get("Repository")) != repository:
            yield f"{folder}/pyproject.toml: [project.urls] Repository is {named}, expected {repository}"
    if not re.search(rf"^version: {re.escape(version)}$", (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE):
        yield f"CITATION.cff: expected version: {version}"
    yield from _of_the_changelog((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    if not (root / "tests" / "compatibility" / version).is_dir():
        yield f"tests/compatibility/{version} is missing: python tests/compatibility/record.py tests/compatibility/{version}"
    yield from _of_the_files(dist, [project["name"].replace("-", "_") for project in projects.values()], version)


def _project(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def _of_the_changelog(text: str, version: str) -> Iterator[str]:
    sections = dict(re.findall(r"^## \[([^\]]+)\].*?$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    if version not in sections:
        yield f"CHANGELOG.md: no section [{version}]"
    if sections.get("Unreleased", "").strip():
        yield f"CHANGELOG.md: [Unreleased] has entries: move them to [{version}]"


def _of_the_files(dist: Path, names: list[str], version: str) -> Iterator[str]:
    expected = {f"{name}-{version}{end}" for name in names for end in ("-py3-none-any.whl", ".tar.gz")}
    found = {path.name for path in dist.iterdir()} if dist.is_dir() else set()
    yield from (f"{dist}/{name} is missing: make dist" for name in sorted(expected - found))
    yield from (f"{dist}/{name} is no file of this release: remove it" for name in sorted(found - expected))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", metavar="TAG", help="v and the version, such as v0.2.0")
    parser.add_argument("dist", type=Path, metavar="DIST", help="where make dist built")
    parser.add_argument("--repository", required=True, metavar="URL", help="where the tag is")
    given = parser.parse_args(arguments)
    found = list(complaints(ROOT, given.tag, given.repository, given.dist))
    for complaint in found:
        print(f"error: {complaint}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
