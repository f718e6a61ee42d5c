"""The documentation in a real Chromium, without internet: no request leaves the service, and every route is shown."""

import re

import pytest
from kg_service.web import docs


def test_the_page_names_no_other_server_and_its_policy_holds_browsers_to_that(reader):
    answer = reader.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert policy == docs.CONTENT_SECURITY_POLICY
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "http" not in policy
    loaded = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert sorted(loaded) == sorted(f"docs/{name}" for name in docs.ASSETS)
    assert "://" not in answer.text + docs.asset("start.js").content.decode()


@pytest.mark.parametrize("name", docs.ASSETS)
def test_what_it_loads_is_not_sent_again(reader, name):
    first = reader.get(f"/docs/{name}")
    assert (first.status_code, first.headers["x-content-type-options"]) == (200, "nosniff")
    assert first.content
    again = reader.get(f"/docs/{name}", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_it_shows_every_route_and_tries_one_out(reader, visit):
    tab, requests = visit(reader, "/docs")
    operations = sum(len(methods) for methods in reader.get("/openapi.json").json()["paths"].values())
    tab.locator(".opblock").nth(operations - 1).wait_for()
    assert tab.locator(".opblock").count() == operations
    tab.locator("#operations-service-livez").click()
    tab.get_by_role("button", name="Try it out").click()
    tab.get_by_role("button", name="Execute").click()
    tab.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
    assert {re.match("https?://[^/]+", request.url)[0] for request in requests} == {"http://localhost"}
