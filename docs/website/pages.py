"""The repository's own pages for the site, each where it lies in the repository, with the files that they link to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from nbconvert import MarkdownExporter
from traitlets.config import Config

START = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NOTEBOOK = re.compile(r"(\]\([^)\s:]+)\.ipynb\b")


def copy_pages(root: Path, folder: Path) -> None:
    """Copies the repository's Markdown pages and notebooks, and every file that they link to, into a folder like the repository.

    A link holds in both, but for one to a notebook, which becomes a page of the site.

    Raises:
        FileNotFoundError: a page links to a file that isn't there.
    """
    pages = [*map(root.joinpath, START), *sorted((root / "docs").rglob("*.md"))]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        _write(folder / page.relative_to(root), _NOTEBOOK.sub(r"\1.md", text))
        for linked in linked_files(page, text):
            if linked not in pages and linked.suffix != ".ipynb":
                target = folder / linked.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(linked, target)
    for notebook in sorted((root / "examples" / "notebooks").glob("*.ipynb")):
        copy_notebook(notebook, folder / notebook.relative_to(root).with_suffix(".md"))


def linked_files(page: Path, text: str) -> list[Path]:
    """The files of the repository that a page links to or shows, each once."""
    names = (link.partition("#")[0] for link in _LINK.findall(text) if "://" not in link)
    return sorted({(page.parent / name).resolve() for name in names if name})


def copy_notebook(notebook: Path, page: Path) -> None:
    """Writes a notebook as a page: its text, its code, the outputs that it was saved with, and their pictures beside it."""
    exporter = MarkdownExporter(
        config=Config({"NbConvertBase": {"display_data_priority": ["image/png", "text/html", "text/plain"]}})
    )
    prefix = {"output_files_dir": f"{page.stem}_files", "unique_key": page.stem}
    text, resources = exporter.from_filename(str(notebook), resources=prefix)
    _write(page, _NOTEBOOK.sub(r"\1.md", text))
    for name, content in resources["outputs"].items():
        (page.parent / name).parent.mkdir(exist_ok=True)
        (page.parent / name).write_bytes(content)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
