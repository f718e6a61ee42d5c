"""For Neo4j Browser: a guide in Markdown, a style, and the queries as saved scripts."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import takewhile
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

_COMMENT = "// "
_FOLDER = "NB-CLIP"


@dataclass(frozen=True, slots=True)
class Script:
    """A file of `queries/`.

    Attributes:
        name: its file name.
        title: its first line; Neo4j Browser shows it as the name of the saved script.
        explanation: the comment below.
        body: what is run, a query or commands of Neo4j Browser.
        text: the whole file.
    """

    name: str
    title: str
    explanation: str
    body: str
    text: str


@cache
def scripts() -> tuple[Script, ...]:
    """All scripts in the order of the walk; the first one sets the parameters of the others."""
    found = (files("kg_service.web") / "queries").iterdir()
    return tuple(_parse(file.name, file.read_text(encoding="utf-8")) for file in sorted(found, key=lambda file: file.name))


def style() -> str:
    """The graph style sheet, for `:style`."""
    return (files("kg_service.web") / "style.grass").read_text(encoding="utf-8")


def guide(address: str) -> str:
    """The guide, for `:guide`; `address` is the URL that style and scripts are fetched from, beside it."""
    opening = (files("kg_service.web") / "guide.md").read_text(encoding="utf-8").replace("{address}", address)
    return "\n---\n\n".join([opening, *map(_slide, scripts())])


def saved_scripts() -> bytes:
    """A zip of the scripts, to be dropped on Neo4j Browser; the same bytes every time."""
    archive = io.BytesIO()
    with ZipFile(archive, "w", ZIP_DEFLATED) as scripts_zip:
        for script in scripts():
            scripts_zip.writestr(ZipInfo(f"{_FOLDER}/{script.name}"), script.text)
    return archive.getvalue()


def _parse(name: str, text: str) -> Script:
    title, *explanation = _comments(text)
    body = text.split("\n", 1 + len(explanation))[-1]
    return Script(name, title, "\n".join(explanation), body.strip(), text)


def _comments(text: str) -> Iterator[str]:
    lines = takewhile(lambda line: line.startswith(_COMMENT), text.splitlines())
    return (line.removeprefix(_COMMENT) for line in lines)


def _slide(script: Script) -> str:
    return f"## {script.title}\n\n{script.explanation}\n\n```cypher\n{script.body}\n```\n"
