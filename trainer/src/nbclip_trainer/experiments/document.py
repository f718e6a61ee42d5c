"""A page as sections of blocks, which Markdown and HTML print alike. Texts are plain but for `**strong**` and `` `code` ``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph. `kind` is `alarm` for what makes the page worthless, `note` for how to read a table, else empty."""

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """A table: the first cell of a row is its name; `words` is how many further cells are text, not numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 0


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Commands."""

    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture: its file beside the Markdown page, and the svg element that stands in the HTML page."""

    file: str
    svg: str
    says: str


@dataclass(frozen=True, slots=True)
class Web:
    """Elements of the HTML page alone; the Markdown page leaves them out."""

    elements: str


Block = Text | Rows | Items | Code | Plot | Web


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A page. `lead` stands before the first section."""

    kicker: str
    title: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]


def markdown(document: Document) -> str:
    """The page as Markdown, ending in a newline."""
    lines = [f"# {document.title}", "", *_all_lines(document.lead)]
    for section in document.sections:
        if all(isinstance(block, Web) for block in section.blocks):
            continue
        lines += [f"## {section.title}", "", *_all_lines(section.blocks)]
    return "\n".join(lines).rstrip("\n") + "\n"


def templates() -> Environment:
    """Where the package's templates come from; what they are given is escaped."""
    return Environment(
        loader=PackageLoader("nbclip_trainer", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def html(document: Document) -> str:
    """The page as one HTML file."""
    environment = templates()
    environment.filters["rich"] = _rich
    kinds = {kind.__name__: kind for kind in (Text, Rows, Items, Code, Plot, Web)}
    environment.tests.update({name.lower(): lambda block, kind=kind: isinstance(block, kind) for name, kind in kinds.items()})
    environment.filters["svg"] = Markup
    return environment.get_template("experiments/page.html.j2").render(document=document)


def _rich(text: str) -> Markup:
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    # Everything but these two marks was escaped above.
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped))  # noqa: S704  # nosec B704


def _all_lines(blocks: tuple[Block, ...]) -> Iterator[str]:
    for block in blocks:
        if not isinstance(block, Web):
            yield from _lines(block)
            yield ""


def _lines(block: Text | Rows | Items | Code | Plot) -> Iterator[str]:
    match block:
        case Text(text, kind):
            yield f"> {text}" if kind == "alarm" else text
        case Rows(header, rows, words):
            yield f"| {' | '.join(map(_cell, header))} |"
            yield f"|{' --- |' * (1 + words)}{' ---: |' * (len(header) - 1 - words)}"
            yield from (f"| {' | '.join(map(_cell, row))} |" for row in rows)
        case Items(items):
            yield from (f"- {item}" for item in items)
        case Code(text):
            yield from ("```sh", text, "```")
        case Plot(file, _, says):
            yield f"![{says}]({file})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
