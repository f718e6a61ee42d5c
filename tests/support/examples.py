"""Every example of the schema, sent to a real service over the example data; run as a program it records the answers.

PYTHONPATH=tests python -m support.examples        writes kg_service/src/kg_service/api/answers.json
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from kg_service.graph import open_store
from kg_service.ingest.pipeline import ingest_items
from kg_service.linking.builder import build_linker
from kg_service.snapshot.publication import publish
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.schemas.images import ImageItem
from support.service import Service
from support.waiting import eventually

ROOT = Path(__file__).parents[2]
ANSWERS = ROOT / "kg_service" / "src" / "kg_service" / "api" / "answers.json"
PICTURES = ROOT / "examples" / "radiology-open" / "images"
IMAGES = 300
ORDER = (
    *("entrance", "livez", "readyz", "info", "metrics", "ui"),
    *("put_images", "list_images", "get_image", "delete_image", "list_neighbours", "get_thumbnail"),
    *("ingest_file", "list_jobs", "get_job", "cancel_job", "delete_job"),
    *("link_captions", "list_concepts", "list_surroundings", "get_concept", "targets", "representations", "explain_pair"),
    *("publish_snapshot", "list_snapshots", "get_snapshot", "list_snapshot_images", "get_embeddings", "delete_snapshot"),
)
"""Operations in an order in which each finds what it needs."""
_LONGEST_LIST = 2


class Sent(NamedTuple):
    """An example of an operation, and what the service answered."""

    operation: Mapping[str, Any]
    name: str
    answer: httpx2.Response


class Runner:
    """Sends the examples of a schema; ids that an example can't know are those of earlier answers."""

    def __init__(self, client: httpx2.Client, schema: Mapping[str, Any]) -> None:
        self._client = client
        self._operations = {
            operation["operationId"]: (method, path, operation)
            for path, methods in schema["paths"].items()
            for method, operation in methods.items()
        }
        self._first_snapshot = client.get("/v1/info").json()["snapshot"]
        self._job = ""

    @property
    def operation_ids(self) -> set[str]:
        """Of all operations of the schema."""
        return set(self._operations)

    def run(self) -> Iterator[Sent]:
        """Every example of every operation, in `ORDER`."""
        for operation_id in ORDER:
            method, path, operation = self._operations[operation_id]
            for name, body in _bodies(operation):
                answer = self._client.request(method, self._filled(operation, path), params=_query(operation), **body)
                if answer.status_code == 202:
                    self._job = answer.json()["id"]
                    if operation_id == "publish_snapshot":
                        self._wait()
                yield Sent(operation, name, answer)
            self._wait()

    def _filled(self, operation: Mapping[str, Any], path: str) -> str:
        known = {"job_id": self._job, "snapshot_id": self._first_snapshot}
        if operation["operationId"] == "delete_image":
            known["image_id"] = "mine/2"
        given = {each["name"]: known.get(each["name"]) or _example(each) for each in _parameters(operation, "path")}
        return path.format_map(given)

    def _wait(self) -> None:
        """Until the last job is over, if there is one."""
        over = {"done", "failed", "cancelled"}
        if self._job:
            eventually(lambda: self._client.get(f"/v1/jobs/{self._job}").json().get("state", "done") in over, 120)


def _bodies(operation: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        yield "", {}
    for media_type, described in content.items():
        if media_type == "application/json":
            yield from ((name, {"json": example["value"]}) for name, example in described["examples"].items())
        else:
            yield media_type, {"content": described["example"].encode(), "headers": {"content-type": media_type}}


def _query(operation: Mapping[str, Any]) -> dict[str, Any]:
    return {each["name"]: _example(each) for each in _parameters(operation, "query") if "examples" in each["schema"]}


def _parameters(operation: Mapping[str, Any], place: str) -> Iterator[Mapping[str, Any]]:
    return (each for each in operation.get("parameters", ()) if each["in"] == place)


def _example(parameter: Mapping[str, Any]) -> Any:
    return parameter["schema"]["examples"][0]


def make_data(folder: Path, vocabulary_folder: Path) -> None:
    """A data folder with the first images of the example data, and a snapshot of their training split."""
    with (ROOT / "examples" / "radiology-open" / "metadata.csv").open(encoding="utf-8") as file:
        rows = [row for _, row in zip(range(IMAGES), csv.DictReader(file), strict=False)]
    items = [ImageItem(image_id=row["image_id"], caption=row["caption"], split=row["split"]) for row in rows]
    vocabulary = open_vocabulary(vocabulary_folder)
    with closing(open_store(str(folder / "graph.sqlite"))) as store:
        ingest_items(items, store, build_linker("dictionary", vocabulary), vocabulary, "reject")
        publish(store, folder / "snapshots", vocabulary=vocabulary.describe(), split="train")


def shortened(value: Any) -> Any:
    """A JSON value whose lists are cut: an example is to be read."""
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    return [shortened(each) for each in value[:_LONGEST_LIST]] if isinstance(value, list) else value


def _record() -> None:
    answers: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        build_vocabulary(ROOT / "examples" / "vocabulary", Path(name) / "vocabulary")
        make_data(Path(name), Path(name) / "vocabulary")
        with closing(Service(Path(name), {"KG_IMAGES": str(PICTURES)})) as service:
            schema = service.client.get("/openapi.json").json()
            for sent in Runner(service.client, schema).run():
                if sent.answer.headers.get("content-type") == "application/json":
                    recorded = answers.setdefault(sent.operation["operationId"], {})
                    recorded.setdefault(str(sent.answer.status_code), shortened(sent.answer.json()))
    ANSWERS.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _record()
