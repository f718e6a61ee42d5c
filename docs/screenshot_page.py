"""Takes docs/page*.png: the page `/ui` of a running kg-service that has the example data and a snapshot of its training split.

    KG_IMAGES=examples/radiology-open/images kg-service serve
    uv run docs/screenshot_page.py --service http://localhost:8080

Needs Chromium at /usr/bin/chromium (or --chromium).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent
SIZE = {"width": 1100, "height": 810}
CAPTION = "Chest X-ray: large left pleural effusion, no pneumothorax. Possible pneumonia in the left lung."
CHOSEN = "Chest"
IMAGE = "RM_00005"


def _caption(page: Page) -> None:
    page.get_by_label("Caption").first.fill(CAPTION)
    page.get_by_role("button", name="Link", exact=True).click()
    page.locator("#caption mark", has_text=CHOSEN).last.click()


def _graph(page: Page) -> None:
    page.get_by_label("Image id").fill(IMAGE)
    page.get_by_role("button", name="Show image").click()
    page.locator("#neighbours button").nth(3).click()
    page.locator("#graph .edge.shares").first.wait_for()
    page.locator("#neighbours canvas").nth(2).wait_for()
    page.locator("#graph-title").evaluate("title => title.scrollIntoView()")


def _targets(page: Page) -> None:
    page.get_by_role("link", name="Targets").click()
    page.get_by_label("Images of the batch").fill(IMAGE)
    page.get_by_role("button", name="First id and its neighbours").click()
    page.locator("#matrix-table tbody tr").first.wait_for()
    page.locator("#matrix").hover(position={"x": 180, "y": 120})


def _doubts(page: Page) -> None:
    page.get_by_role("link", name="Doubts").click()
    page.locator("#doubts td.marks button").nth(0).click()
    page.locator("#doubts td.marks button").nth(5).click()


PICTURES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "page.png": ("light", _caption),
    "page-graph.png": ("light", _graph),
    "page-targets.png": ("dark", _targets),
    "page-doubts.png": ("light", _doubts),
}
"""Name to theme and what leads there."""


def main() -> None:
    """Takes all pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--service", default="http://localhost:8080")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, (theme, lead) in PICTURES.items():
            page = browser.new_page(viewport=SIZE, color_scheme=theme)
            page.goto(f"{arguments.service}/ui")
            lead(page)
            page.screenshot(path=FOLDER / name)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
