"""The pages of the reference that come from the code: both commands, the Python library, and the dates of all figures."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

COMMANDS = {"kg-service": "kg_service.cli.main", "nbclip": "nbclip_trainer.cli.main"}
MODULES = ("client", "losses", "targets", "codec", "vectors", "errors", "ids")
_LIBRARY = """# Python library nbclip

What your own training loop needs: `nbclip[client,torch]` brings the service's client and the losses, and nothing of the two
programs. [A notebook](../../examples/notebooks/targets.md) uses them; this page lists the public modules with their functions,
shapes, ranges and errors.
"""
_DATES = """# All figures by date

A figure is worth what its date, machine and command say. This page lists every section of the documentation that gives a date,
the newest first; the section itself names machine and command.

| date | section | page |
| --- | --- | --- |
"""
_EXAMPLES = re.compile(r'(?:<span style="color: [^>]+>.*</span>\n?)+')
"""What is coloured in the help are commands, each on a line of its own."""
_BOLD = re.compile(r'<span style="font-weight: bold">(.*?)</span>')
_TAG = re.compile(r"<[^>]+>")
_HEADING = re.compile(r"^#+ (.+)$")
_DATE = re.compile(r"\b20\d\d-\d\d-\d\d\b")


def command_page(name: str) -> str:
    """The page of a command with all that is below it, as Typer writes it from the help."""
    command = [sys.executable, "-m", "typer", COMMANDS[name], "utils", "docs", "--name", name]
    done = subprocess.run(command, capture_output=True, check=True, encoding="utf-8")  # noqa: S603
    head, _, rest = done.stdout.partition("\n")
    what = f"Every command of `{name}` with its arguments and options: what `{name} COMMAND --help` says, on one page."
    text = _BOLD.sub(r"**\1**", _EXAMPLES.sub(_fenced, rest.strip()))
    return "\n".join((f"# Command {head.removeprefix('# ')}", "", what, "", text, ""))


def _fenced(lines: re.Match[str]) -> str:
    return "\n".join(("", "```sh", html.unescape(_TAG.sub("", lines[0])).strip(), "```", ""))


def library_page(root: Path) -> str:
    """The page of the library: what mkdocstrings is to put there, module by module."""
    schemas = sorted(path.stem for path in (root / "shared/src/nbclip/schemas").glob("*.py") if path.stem != "__init__")
    names = [f"nbclip.{name}" for name in MODULES] + [f"nbclip.schemas.{name}" for name in schemas]
    return "\n".join([_LIBRARY, *(f"::: {name}\n" for name in names)])


def dates_page(root: Path) -> str:
    """The page of dates: a row for each date of each section of `docs/`."""
    rows = {(date, *section) for path in sorted((root / "docs").rglob("*.md")) for section, date in _dated(root, path)}
    by_age = sorted(rows, key=lambda row: row[1:])
    by_age.sort(key=lambda row: row[0], reverse=True)
    lines = [f"| {date} | [{heading}](../{page}{anchor}) | {page} |" for date, page, heading, anchor in by_age]
    return _DATES + "\n".join(lines) + "\n"


def _dated(root: Path, path: Path) -> list[tuple[tuple[str, str, str], str]]:
    """Page, heading and anchor of each section that has a date, and the date; dates in fences are examples."""
    page, found, fenced = str(path.relative_to(root / "docs")), [], False
    heading, anchor = path.stem, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith("```")
        if fenced:
            continue
        if match := _HEADING.match(line):
            # The page's title needs no anchor.
            anchor = "" if line.startswith("# ") else "#" + github_anchor(match[1])
            heading = match[1]
        found += [((page, heading, anchor), date) for date in _DATE.findall(line)]
    return found


def github_anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
