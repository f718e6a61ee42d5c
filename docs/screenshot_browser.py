"""Takes docs/neo4j-browser.png: the guide's fourth query in Neo4j Browser, on the example graph.

    export NEO4J_PASSWORD=…                # of the user neo4j
    uv run --no-project --with playwright docs/screenshot_browser.py \
        --browser http://localhost:7474/browser/ --bolt neo4j://localhost:7687 --service http://localhost:8080

Needs Chromium at /usr/bin/chromium (or --chromium), Neo4j with the example graph, and a running kg-service.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PICTURE = Path(__file__).with_name("neo4j-browser.png")
SIZE = {"width": 1400, "height": 900}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
IMAGE = "RM_00042"
SETTLES_MS = 4_000


def main() -> None:
    """Walks the guide and takes the picture."""
    arguments = read_arguments()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=arguments.chromium, args=FLAGS, viewport=SIZE
        )
        page = context.new_page()
        guide = f"{arguments.service}/neo4j-browser/guide.md"
        page.goto(f"{arguments.browser}?cmd=guide&arg={guide}&dbms={arguments.bolt}")
        connect(page, os.environ["NEO4J_PASSWORD"])
        run_box(page)
        for number in ("00", "04"):
            turn_to(page, number)
            run_box(page)
        show_image(page)
        page.screenshot(path=PICTURE)
        context.close()


def read_arguments() -> argparse.Namespace:
    """Where everything is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--browser", default="http://localhost:7474/browser/")
    parser.add_argument("--bolt", default="neo4j://localhost:7687")
    parser.add_argument("--service", default="http://localhost:8080")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    return parser.parse_args()


def connect(page: Page, password: str) -> None:
    """Fills in the form that Neo4j Browser opens with."""
    # The form is filled anew once the server has told its address.
    page.get_by_test_id("password").wait_for()
    page.wait_for_timeout(SETTLES_MS)
    page.get_by_test_id("username").fill("neo4j")
    page.get_by_test_id("password").fill(password)
    page.get_by_test_id("connect").click()
    page.get_by_text("You are connected").wait_for()


def turn_to(page: Page, number: str) -> None:
    """Turns the guide's pages to a script."""
    while not page.locator("h2", has_text=f"{number} ").is_visible():
        page.get_by_test_id("guideNextSlide").click()
        page.wait_for_timeout(300)


def run_box(page: Page) -> None:
    """Runs the box of the slide that is shown, as a reader does."""
    box = page.locator("pre.runnable")
    begins = box.inner_text().split()[0]
    box.click()
    page.get_by_test_id("activeEditor").get_by_text(begins).first.wait_for()
    page.get_by_test_id("editor-Run").click()
    page.get_by_test_id("frameCommand").first.get_by_text(begins).wait_for()
    page.wait_for_timeout(SETTLES_MS)


def show_image(page: Page) -> None:
    """The answer over the whole width, and the image's properties beside it."""
    page.get_by_test_id("navigationGuides").click()
    page.get_by_title("Fullscreen", exact=True).first.click()
    page.wait_for_timeout(SETTLES_MS)
    page.get_by_label("zoom-to-fit").click()
    page.wait_for_timeout(SETTLES_MS)
    page.locator("g.node", has_text=IMAGE).hover(force=True)
    page.wait_for_timeout(SETTLES_MS)


if __name__ == "__main__":
    main()
