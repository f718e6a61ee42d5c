"""A real Chromium whose requests are answered by the service in this process; none may leave it."""

from __future__ import annotations

import os

import pytest

ORIGIN = "http://localhost"
WAITS_MS = 30_000


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import expect, sync_playwright
    from support.chromium import find_chromium

    chromium = find_chromium()
    expect.set_options(timeout=WAITS_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.path,
            args=list(chromium.arguments),
            env={**os.environ, **chromium.environment},
            timeout=120_000,
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens a page of a service; `requests` are those it has made, and an error in its script fails the test."""
    contexts, faults = [], []

    def visit(client, path="/ui"):
        context = browser.new_context()
        contexts.append(context)
        context.set_default_timeout(WAITS_MS)
        requests = []

        def answer(route):
            request = route.request
            requests.append(request)
            if not request.url.startswith(f"{ORIGIN}/"):
                return route.abort()
            path = request.url.removeprefix(ORIGIN)
            found = client.request(request.method, path, headers=request.headers, content=request.post_data_buffer)
            return route.fulfill(status=found.status_code, headers=dict(found.headers), body=found.content)

        context.route("**/*", answer)
        tab = context.new_page()
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("console", lambda message: "Content Security Policy" in message.text and faults.append(message.text))
        tab.goto(f"{ORIGIN}{path}")
        return tab, requests

    yield visit
    for context in contexts:
        context.close()
    assert not faults
