"""The documentation's site: its links hold, it needs nothing from elsewhere, and its reference has all that the code has."""

from __future__ import annotations

import re
import subprocess
import tomllib
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
import typer
from kg_service.api.application import create_app
from kg_service.cli.main import app as kg_service
from kg_service.config import load_settings
from nbclip_trainer.cli.main import app as nbclip

from docs.website.api import api_page
from docs.website.build import HERE, ROOT, build, build_site
from docs.website.pages import copy_pages, linked_files
from docs.website.reference import COMMANDS, MODULES, dates_page

FETCHED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
}
"""The attribute by which an element makes a browser fetch something."""


@dataclass
class Read(HTMLParser):
    """What a page fetches, what it links to, and its anchors."""

    fetched: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag in FETCHED and found.get("rel") != "canonical" and (address := found.get(FETCHED[tag])):
            self.fetched.append(address)
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])


@cache
def read(path):
    page = Read()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build(tmp_path_factory.mktemp("website")).parent


@pytest.fixture(scope="module")
def pages(site):
    found = sorted(site.rglob("*.html"))
    assert len(found) > 30
    return found


def is_elsewhere(address):
    return bool(re.match(r"(?:[a-z]+:)?//", address))


def test_nothing_is_fetched_from_elsewhere(pages, site):
    fetched = {address for page in pages for address in read(page).fetched}
    assert "./assets/iframe-worker.js" in fetched
    assert [address for address in fetched if is_elsewhere(address)] == []
    styles = [
        found for style in site.rglob("*.css") for found in re.findall(r"url\(([^)]+)\)|@import\s+([^;]+)", style.read_text())
    ]
    assert [found for pair in styles for found in pair if is_elsewhere(found.strip("\"' "))] == []


def test_every_link_leads_to_a_page_or_file_of_the_site_and_to_an_anchor_there(pages):
    lost = []
    for page in pages:
        # The page of a lost address is read at any depth, so its links begin at the server's root.
        for link in (link for link in read(page).links if page.name != "404.html" and not re.match(r"[a-z]+:|//", link)):
            name, _, anchor = unquote(link).partition("#")
            target = (page.parent / name).resolve() if name else page
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (anchor and target.suffix == ".html" and anchor not in read(target).anchors):
                lost.append(f"{page.name}: {link}")
    assert lost == []


def test_a_reader_searches_and_looks_without_a_network(browser, site):
    context = browser.new_context(color_scheme="dark")
    requests, faults = [], []
    context.on("request", lambda request: requests.append(request.url))
    tab = context.new_page()
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto((site / "docs" / "linking.html").as_uri())
    tab.locator(".md-search__button").click()
    tab.keyboard.type("neighbour mass")
    tab.locator("a[href*=targetsrequest]").first.click()
    tab.get_by_role("heading", name="TargetsRequest").wait_for()
    context.close()
    assert faults == []
    assert {"linking.html", "api.html"} <= {url.partition("?")[0].rpartition("/")[2] for url in requests}
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_every_page_is_in_the_navigation(site):
    def listed(entries):
        for entry in entries:
            for below in entry.values():
                yield from [below] if isinstance(below, str) else listed(below)

    project = tomllib.loads((HERE / "zensical.toml").read_text())["project"]
    named = list(listed(project["nav"]))
    assert sorted(named) == sorted(set(named))
    written = {str(path.relative_to(site.parent / "pages")) for path in (site.parent / "pages").rglob("*.md")}
    assert {name for name in written if not name.endswith("LICENSE.md")} == set(named)


def test_every_page_says_first_what_it_is_for(site):
    """A paragraph comes between a page's title and its first section, table or command."""
    pages = [
        path
        for path in (site.parent / "pages").rglob("*.md")
        if not path.name.startswith(("LICENSE", "CHANGELOG", "CONTRIBUTING"))
    ]
    begins = {path.name: path.read_text(encoding="utf-8").partition("\n")[2].lstrip()[:3] for path in pages}
    assert [name for name, text in begins.items() if re.match(r"#|```|\|", text)] == []


def test_a_lost_link_ends_the_build(tmp_path, capfd):
    (tmp_path / "pages" / "assets").mkdir(parents=True)
    for name in ("site.css", "iframe-worker.js"):
        (tmp_path / "pages" / "assets" / name).touch()
    config = (HERE / "zensical.toml").read_text()
    (tmp_path / "zensical.toml").write_text(re.sub(r"nav = \[\n.*?\n\]\n", "", config, flags=re.DOTALL))
    page = tmp_path / "pages" / "index.md"
    page.write_text("# Page\n\n## Part\n\n[there](#part)\n")
    assert build_site(tmp_path).exists()
    page.write_text("# Page\n\n## Part\n\n[lost](#apart)\n")
    with pytest.raises(subprocess.CalledProcessError):
        build_site(tmp_path)
    assert "#apart" in re.sub(r"\x1b\[[\d;]*m", "", capfd.readouterr().err)


def test_a_file_that_is_not_there_ends_the_copying(tmp_path):
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md", "docs/README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# Page\n")
    copy_pages(tmp_path, tmp_path / "whole")
    (tmp_path / "docs" / "README.md").write_text("[a file](../deploy/lost.yaml)\n")
    with pytest.raises(FileNotFoundError, match="deploy/lost"):
        copy_pages(tmp_path, tmp_path / "broken")


def test_linked_files_are_those_of_the_repository():
    text = "[a](../LICENSE#top) [b](https://example.org/x.md) [c](#here) ![d](page.png) [a](../LICENSE)"
    assert linked_files(ROOT / "docs" / "x.md", text) == [ROOT / "LICENSE", ROOT / "docs" / "page.png"]


def test_the_api_has_every_route_and_every_body(tmp_path):
    document = create_app(load_settings(data=tmp_path)).openapi()
    headings = re.findall(r"^### (.+)$", api_page(), re.MULTILINE)
    routes = [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]
    assert sorted(headings) == sorted([*routes, *document["components"]["schemas"]])


def commands(command, name):
    yield name
    for word, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {word}")


@pytest.mark.parametrize(("name", "app"), [("kg-service", kg_service), ("nbclip", nbclip)])
def test_the_page_of_a_command_has_all_that_is_below_it_and_no_markup_of_the_terminal(name, app, site):
    text = (site.parent / "pages" / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")
    assert name in COMMANDS
    headings = re.findall(r"^#+ (?:Command )?`(.+)`$", text, re.MULTILINE)
    assert sorted(headings) == sorted(commands(typer.main.get_command(app), name))
    assert "<span" not in text


@pytest.mark.parametrize("module", MODULES)
def test_the_page_of_the_library_has_what_its_modules_define(module, site):
    source = (ROOT / "shared" / "src" / "nbclip" / f"{module}.py").read_text()
    defined = re.findall(r"^(?:def|class) ([A-Za-z]\w*)", source, re.MULTILINE)
    assert defined
    anchors = read(site / "docs" / "reference" / "python.html").anchors
    assert {f"nbclip.{module}.{name}" for name in defined} <= anchors


def test_the_page_of_dates_names_the_sections_of_figures_and_not_the_examples(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text(
        "# Title\n\n2026-01-02\n\n## A part, `x`\n\n2026-02-03 and 2026-02-03\n\n```\n2026-03-04\n```\n"
    )
    rows = [line for line in dates_page(tmp_path).splitlines() if line.startswith("| 2")]
    assert rows == ["| 2026-02-03 | [A part, `x`](../a.md#a-part-x) | a.md |", "| 2026-01-02 | [Title](../a.md) | a.md |"]
