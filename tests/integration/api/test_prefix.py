"""Behind a proxy that shows the service under a path, and takes that path away or not: every address holds."""

import re
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from support.neo4j.server import free_ports
from support.service import Service

PREFIX = "/tools/kg"
HTML = {"accept": "text/html"}


class Proxy(BaseHTTPRequestHandler):
    """Passes requests under the prefix on, as nginx's `location /tools/kg/ { proxy_pass … }` does with and without a slash."""

    target, strips = "", True

    def do_GET(self):
        if not f"{self.path}/".startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        path = self.path.removeprefix(PREFIX) if self.strips else self.path
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        answer = httpx2.request(self.command, self.target + path, headers=headers, content=body)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    do_POST = do_GET  # noqa: N815 - a name of the standard library

    def log_message(self, *_):
        """Nothing."""


@contextmanager
def proxied(service, *, strips):
    handler = type("Handler", (Proxy,), {"target": service.url, "strips": strips})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{server.server_port}", timeout=60) as client:
            yield client
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory, vocabulary_folder):
    data = tmp_path_factory.mktemp("prefix") / "data"
    data.mkdir()
    settings = {"KG_VOCABULARY": str(vocabulary_folder), "KG_ROOT_PATH": PREFIX, "KG_MAX_BODY_BYTES": "1024"}
    with closing(Service(data, settings, port=free_ports(1)[0])) as service:
        yield service


@pytest.fixture(params=[True, False], ids=["stripped", "kept"])
def client(prefixed, request):
    with proxied(prefixed, strips=request.param) as client:
        yield client


def test_what_leads_on_leads_through_the_proxy(client):
    entrance = client.get(f"{PREFIX}/")
    links = entrance.json()["links"]
    assert set(links.values()) == {f"{PREFIX}{path}" for path in ("/docs", "/openapi.json", "/ui", "/livez", "/readyz")}
    assert all(client.get(link).status_code == 200 for link in links.values())
    assert f"POST {PREFIX}/v1/targets" in entrance.json()["routes"]
    assert client.get(PREFIX).status_code == 200
    to_page = client.get(f"{PREFIX}/", headers=HTML)
    assert (to_page.status_code, to_page.headers["location"]) == (307, f"{PREFIX}/ui")


def test_pages_find_what_they_load(client):
    for page in ("docs", "ui"):
        text = client.get(f"{PREFIX}/{page}").text
        loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert all(client.get(f"{PREFIX}/{path}").status_code == 200 for path in loaded), loaded
    schema = client.get(f"{PREFIX}/openapi.json").json()
    assert [server["url"] for server in schema["servers"]] == [PREFIX]
    assert client.get(schema["servers"][0]["url"] + "/v1/jobs").status_code == 200
    assert f"{PREFIX}/neo4j-browser/style.grass" in client.get(f"{PREFIX}/neo4j-browser/guide.md").text


@pytest.mark.parametrize("version", ["/v1", ""])
def test_where_a_job_is_is_found_and_long_bodies_are_taken(client, version):
    body = b"image_id,caption\n" + b"".join(b"%d,Lung.\n" % number for number in range(500))
    sent = client.post(f"{PREFIX}{version}/jobs/ingest", content=body, headers={"content-type": "text/csv"})
    assert sent.status_code == 202, sent.text
    assert sent.headers["location"] == f"{PREFIX}{version}/jobs/{sent.json()['id']}"
    assert client.get(sent.headers["location"]).status_code == 200


def test_refusals_and_head_are_as_ever(client):
    refused = client.get(f"{PREFIX}/v1/targets")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert client.get(f"{PREFIX}/v1/nothing").headers["content-type"] == "application/problem+json"


def test_a_service_that_is_asked_without_the_proxy_answers_too(prefixed):
    assert prefixed.client.get("/readyz").status_code == 200
    assert prefixed.client.get("/v1/jobs").status_code == 200
