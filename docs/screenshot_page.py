"""Takes docs/page.png: the page `/ui` of a running kg-service with the example vocabulary.

    uv run docs/screenshot_page.py --service http://localhost:8080

Needs Chromium at /usr/bin/chromium (or --chromium).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).with_name("page.png")
SIZE = {"width": 1100, "height": 810}
CAPTION = "Chest X-ray: large left pleural effusion, no pneumothorax. Possible pneumonia in the left lung."
CHOSEN = "Chest"


def main() -> None:
    """Links the caption, chooses a mention and takes the picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--service", default="http://localhost:8080")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{arguments.service}/ui")
        page.get_by_label("Caption").first.fill(CAPTION)
        page.get_by_role("button", name="Link", exact=True).click()
        page.locator("#caption mark", has_text=CHOSEN).last.click()
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
