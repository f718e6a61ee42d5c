"""What the README and docs/ name exists: pages, anchors, commands with their options, settings, routes, tests."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import typer
from kg_service.api.application import create_app
from kg_service.cli.main import app as kg_service
from kg_service.config import load_settings
from nbclip_trainer.cli.main import app as nbclip

from docs.settings_page import page

ROOT = Path(__file__).parents[3]
READMES = [ROOT / folder / "README.md" for folder in (".", "examples", "shared", "kg_service", "trainer")]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = {"kg-service": kg_service, "nbclip": nbclip, "nbclip_trainer": nbclip}
CODE = re.compile(r"```.*?\n(.*?)```|`([^`\n]+)`", re.DOTALL)
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def code(path):
    """What the page has in fences and between backticks."""
    return [fenced or inline for fenced, inline in CODE.findall(path.read_text(encoding="utf-8"))]


@cache
def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_page_is_linked_from_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert all(f"({path.name})" in index for path in (ROOT / "docs").glob("*.md") if path.name != "README.md")


@each_page
def test_relative_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    lost = []
    for link in (link for link in links if "://" not in link):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert not lost


def commands(path):
    """The commands of both programs that a page shows, as words."""
    for text in code(path):
        for line in text.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\||;|\$\(", line.partition(" #")[0]):
                if match := re.search(r"(?:^|\s)(kg-service|nbclip|nbclip_trainer)(\s[^)]*)?$", part.strip().removesuffix("&")):
                    yield match[1], (match[2] or "").split()


def unknown_words(program, words):
    """The words that name no command or option of a program; values are passed over."""
    command, unknown = typer.main.get_command(PROGRAMS[program]), []
    for word in words:
        if word in ("--help", "-h"):
            continue
        if word.startswith("-"):
            known = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]
            unknown += [] if word.partition("=")[0] in known else [word]
        elif below := getattr(command, "commands", {}):
            if word not in below:
                return [*unknown, word]
            command = below[word]
    return unknown


@each_page
def test_commands_and_their_options_exist(path):
    wrong = {(program, *words): lost for program, words in commands(path) if (lost := unknown_words(program, words))}
    assert not wrong


def test_the_commands_of_the_walk_are_found_in_the_readme():
    shown = {(program, *words[:2]) for program, words in commands(ROOT / "README.md")}
    assert ("kg-service", "vocabulary", "build") in shown
    assert ("nbclip", "train", "--preset") in shown


@each_page
def test_make_targets_exist(path):
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {target for text in code(path) for target in re.findall(r"(?:^|\s)make ([a-z-]+)", text)} <= made | {"bench-"}


@each_page
def test_settings_of_the_service_exist(path):
    known = set(re.findall(r"^\| `(KG_[A-Z_]+)` \|", page(), re.MULTILINE))
    assert set(re.findall(r"\bKG_[A-Z_]+\b", path.read_text(encoding="utf-8"))) <= known


@each_page
def test_settings_of_compose_exist(path):
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:NBCLIP_[A-Z_]+|NEO4J_(?:HTTP|BOLT)_PORT|NEO4J_IMAGE)\b", path.read_text(encoding="utf-8")))
    others = {"NBCLIP_SERVICE_KEY", "NBCLIP_DATA"}  # the trainer's, the benchmarks'
    assert all(name in compose for name in named - others)


@each_page
def test_settings_of_the_trainer_exist(path):
    known = set(re.findall(r"^\| `([a-z_.]+)` \|", page(), re.MULTILINE))
    sections = {name.partition(".")[0] for name in known if "." in name}
    branches = {name.rpartition(".")[0] for name in known}
    named = {
        word
        for text in code(path)
        for word in re.findall(r"(?<![\w./-])([a-z_]+(?:\.[a-z_]+)+)(?=[=\s,;:)]|$)", text)
        if word.partition(".")[0] in sections and not word.endswith((".md", ".py", ".csv", ".tsv", ".json", ".html"))
    }
    assert named <= known | branches


@each_page
def test_routes_exist(path, tmp_path):
    """Bare paths are aliases of the newest version's, so both count as one."""
    routes = {route.removeprefix("/v1") for route in create_app(load_settings(data=tmp_path)).openapi()["paths"]}
    named = re.findall(r"\b(?:GET|POST|DELETE) (?:/v1)?(/[a-z/{}_]+)", " ".join(code(path)))
    shapes = {re.sub(r"\{[^}]*\}", "{}", route) for route in routes}
    assert {re.sub(r"\{[^}]*\}", "{}", route).rstrip("/") for route in named} <= shapes


@each_page
def test_files_that_are_named_exist(path):
    named = re.findall(r"`((?:tests|benchmarks|examples|deploy|docs)/[\w./-]+)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("package", ["kg_service/src/kg_service", "shared/src/nbclip", "trainer/src/nbclip_trainer"])
def test_the_architecture_has_a_paragraph_for_every_room_and_names_no_other(package):
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition(f"`{package}/`")[2].partition("\n## ")[0]
    described = {name.removesuffix(".py") for name in re.findall(r"\*\*`([a-z_]+(?:\.py)?)/?`\*\*", section)}
    rooms = {folder.parent.name for folder in (ROOT / package).glob("*/__init__.py")}
    files = {file.stem for file in (ROOT / package).glob("*.py")}
    assert rooms <= described <= rooms | files


def test_the_page_of_settings_is_what_the_code_says():
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page(), "make docs writes it anew"
