"""Takes docs/report.png: the first screen of the demo's report.

    make demo && PYTHONPATH=tests uv run docs/screenshot_report.py --report runs/demo/report.html

The browser is that of the tests.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright
from support.chromium import find_chromium

PICTURE = Path(__file__).with_name("report.png")
SIZE = {"width": 1000, "height": 900}


def main() -> None:
    """Opens the report and takes the picture from its top to the end of what stands in short."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", type=Path, default=Path("runs/demo/report.html"))
    parser.add_argument("--out", type=Path, default=PICTURE)
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        found = find_chromium()
        browser = playwright.chromium.launch(executable_path=found.path, args=list(found.arguments), env=found.environment)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(arguments.report.resolve().as_uri())
        box = page.locator("#short").bounding_box()
        height = SIZE["height"] if box is None else box["y"] + box["height"] + 20
        page.screenshot(path=arguments.out, full_page=True, clip={"x": 0, "y": 0, "width": SIZE["width"], "height": height})
        browser.close()


if __name__ == "__main__":
    main()
