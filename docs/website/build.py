"""Builds the documentation's site: `make site`.

    python -m docs.website.build [FOLDER]

The folder, build/website by default, is made anew: `pages/` gets the repository's pages and those that the code gives, `site/`
the site, which needs no server and no network. A link that leads nowhere is an error.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from docs.website.api import api_page
from docs.website.pages import copy_pages
from docs.website.reference import COMMANDS, command_page, dates_page, library_page

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def build(folder: Path) -> Path:
    """Writes pages and site, and returns the site's first page.

    Raises:
        FileNotFoundError: a page links to a file that isn't there.
        CalledProcessError: as `build_site`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "pages"
    copy_pages(ROOT, pages)
    shutil.copytree(HERE / "assets", pages / "assets")
    for name, text in generated_pages().items():
        (pages / "docs" / "reference").mkdir(exist_ok=True)
        (pages / "docs" / "reference" / f"{name}.md").write_text(text, encoding="utf-8")
    shutil.copyfile(HERE / "zensical.toml", folder / "zensical.toml")
    shutil.copytree(ROOT / "shared" / "src", folder / "library", ignore=shutil.ignore_patterns("__pycache__"))
    return build_site(folder)


def build_site(folder: Path) -> Path:
    """Builds the site of a folder with `pages/` and `zensical.toml`, and returns its first page.

    Raises:
        CalledProcessError: Zensical found a fault, such as a lost link, and has printed it.
    """
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, check=True)
    return folder / "site" / "index.html"


def generated_pages() -> dict[str, str]:
    """The reference's pages that the code gives, by name."""
    commands = {name: command_page(name) for name in COMMANDS}
    return {"api": api_page(), **commands, "python": library_page(ROOT), "dates": dates_page(ROOT)}


if __name__ == "__main__":
    try:
        first = build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "website").resolve())
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr or error.returncode)
    print(f"open {first.as_uri()}")  # noqa: T201
