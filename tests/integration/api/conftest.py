"""The whole service on a real vocabulary: the example release, eight captions, one snapshot."""

import contextlib
import logging
import shutil
from pathlib import Path

import pytest
import structlog
from kg_service.api.application import create_app
from kg_service.app.keys import add_key
from kg_service.cli.main import main
from kg_service.config import load_settings
from kg_service.graph import open_store
from kg_service.ingest.pipeline import ingest_items
from kg_service.linking.builder import build_linker
from kg_service.snapshot.publication import publish
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.schemas.images import ImageItem
from starlette.testclient import TestClient
from support.service import Service
from support.tcp import free_port

RRF = Path(__file__).parents[3] / "examples" / "vocabulary"
CAPTIONS = {
    "effusion": "Chest X-ray showing a pleural effusion.",
    "effusion too": "Radiograph of the chest with pleural effusion and pneumonia.",
    "pneumonia": "Chest CT showing pneumonia.",
    "no pneumothorax": "Chest X-ray, no pneumothorax.",
    "fracture": "Femur fracture.",
    "case/7/a.png": "Axial CT of the brain.",
    "ünïcode": "Liver ultrasound.",
    "empty": "zzz qqq.",
}


@pytest.fixture(autouse=True)
def quiet_logs():
    """The command sets the process's logging; each test begins and ends without."""
    yield
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


@pytest.fixture(scope="session")
def vocabulary_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary") / "compiled"
    build_vocabulary(RRF, folder)
    build_linker("dictionary", open_vocabulary(folder))
    return folder


@pytest.fixture(scope="session")
def published(tmp_path_factory, vocabulary_folder):
    """A data folder with a graph and a snapshot; copied for each test."""
    folder = tmp_path_factory.mktemp("published")
    vocabulary = open_vocabulary(vocabulary_folder)
    store = open_store(str(folder / "graph.sqlite"))
    items = [ImageItem(image_id=image_id, caption=caption, split="train") for image_id, caption in CAPTIONS.items()]
    ingest_items(items, store, build_linker("dictionary", vocabulary), vocabulary, "reject")
    publish(store, folder / "snapshots", vocabulary=vocabulary.describe())
    store.close()
    return folder


@pytest.fixture
def data(tmp_path, published):
    return Path(shutil.copytree(published, tmp_path / "data"))


@pytest.fixture
def service(data, vocabulary_folder):
    """Starts the application in this process, with other settings if asked."""
    with contextlib.ExitStack() as stack:

        def start(**settings):
            chosen = load_settings(**({"data": data, "vocabulary": vocabulary_folder} | settings))
            client = TestClient(create_app(chosen), base_url="http://localhost", raise_server_exceptions=True)
            return stack.enter_context(client)

        yield start


@pytest.fixture
def client(service):
    return service()


@pytest.fixture(scope="session")
def reader(published, vocabulary_folder):
    """One service for all tests that store nothing."""
    app = create_app(load_settings(data=published, vocabulary=vocabulary_folder))
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def over_tcp(published, vocabulary_folder):
    """Starts the service as a process that listens on a port, with these settings; for tests that store nothing."""
    with contextlib.ExitStack() as stack:

        def start(**settings):
            named = {f"KG_{name.upper()}": str(value) for name, value in settings.items()}
            running = Service(published, {"KG_VOCABULARY": str(vocabulary_folder), **named}, port=free_port())
            return stack.enter_context(contextlib.closing(running))

        yield start


@pytest.fixture
def keys(data):
    """A key of each scope."""
    return {scope: add_key(data / "keys.json", f"{scope}er", [scope]) for scope in ("read", "ingest", "admin")}


@pytest.fixture
def command(capsys):
    """Runs `kg-service` in this process: (exit status, standard output, standard error)."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


@pytest.fixture
def problem():
    """Checks that an answer is a problem of this type and returns it."""

    def check(answer, status, code):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert body["type"] == f"urn:nbclip:problem:{code}"
        assert body["status"] == status
        assert body["request_id"] == answer.headers["x-request-id"]
        return body

    return check
