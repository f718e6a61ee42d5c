"""Every route of the REST API, asked at least once: what a client of this version sends.

A request is `method`, `path`, `headers` and `json` or `text`; `until` says which state of a job it is asked again for. Those of a
group are sent in their order, to a service that was started for the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Request = dict[str, Any]
Requests = dict[str, Request]

TENSORS = "application/vnd.safetensors"
BATCH = ["RM_00063", "RM_00105", "RM_00190", "RM_00466", "RM_00720", "RM_00508"]
"""Images of the base and of both segments; the last without a present concept of its own."""
SETTINGS = {"KG_MAX_BODY_BYTES": "8192", "KG_MAX_ITEMS": "20", "KG_COMPACT_AFTER": "0"}
"""Of the service: low limits, and no work of its own that changes answers."""
MADE_UP = "nbkg_made-up-key-of-the-fixtures"


def get(path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Request:
    return {"method": "GET", "path": path, "headers": dict(headers or {}), **more}


def post(path: str, body: Any, headers: Mapping[str, str] | None = None) -> Request:
    return {"method": "POST", "path": path, "headers": {"content-type": "application/json", **(headers or {})}, "json": body}


def upload(path: str, text: str, media_type: str = "text/csv") -> Request:
    return {"method": "POST", "path": path, "headers": {"content-type": media_type}, "text": text}


def delete(path: str) -> Request:
    return {"method": "DELETE", "path": path, "headers": {}}


def of_a_full_service(snapshots: Mapping[str, str], jobs: Mapping[str, str], training_ids: Sequence[str]) -> Requests:
    """The whole API, over the recorded data folder.

    Args:
        snapshots: `current`, `base`, `transe` and `gone`: ids of snapshots.
        jobs: state to id of a job.
        training_ids: images of the current snapshot.
    """
    return {
        **_jobs(jobs),
        **_service(),
        **_graph(),
        **_targets(snapshots),
        **_training(snapshots["current"], training_ids),
        **_snapshots(snapshots),
        **_refusals(),
        **_changes(),
    }


def of_an_empty_service() -> Requests:
    """A service with nothing to serve yet."""
    return {
        "livez": get("/livez"),
        "readyz": get("/readyz"),
        "targets": post("/targets", {"image_ids": BATCH}),
        "link": post("/link", {"captions": ["Pleural effusion."]}),
        "snapshot": get(f"/snapshots/{'0' * 64}"),
        "snapshots": get("/snapshots"),
        "images": get("/images"),
        "jobs": get("/jobs"),
    }


def of_a_service_with_keys(keys: Mapping[str, str]) -> Requests:
    """`keys` are keys by their scope; the data folder is the recorded one without its jobs."""
    bearer = {scope: {"authorization": f"Bearer {key}"} for scope, key in keys.items()}
    return {
        "without-a-key": get("/info"),
        "wrong-key": get("/info", {"authorization": f"Bearer {MADE_UP}"}),
        "probe-without-a-key": get("/livez"),
        "lacks-the-scope": post("/images", {"items": [{"image_id": "x", "caption": "Chest."}]}, bearer["read"]),
        "read": get("/info", bearer["read"]),
        "ingest": get("/jobs", bearer["ingest"]),
        "ingest-is-not-read": get("/info", bearer["ingest"]),
        "admin-is-all": get("/images?limit=1", bearer["admin"]),
    }


def _jobs(jobs: Mapping[str, str]) -> Requests:
    text = "image_id,caption,split\njob/1,Chest X-ray with pneumothorax.,valid\njob/2,,valid\njob/1,Another caption.,valid\n"
    return {
        "ingest-csv": upload("/jobs/ingest?split=valid&dataset=made&on_conflict=reject", text),
        "ingest-ndjson": upload(
            "/jobs/ingest", '{"image_id": "job/3", "caption": "Lung.", "split": "valid"}\n', "application/x-ndjson"
        ),
        "waiting-job-ends": get(f"/jobs/{jobs['waiting']}", until="done"),
        "done-job": get(f"/jobs/{jobs['done']}"),
        "failed-job": get(f"/jobs/{jobs['failed']}"),
        "cancelled-job": get(f"/jobs/{jobs['cancelled']}"),
        "stop-a-job-that-has-ended": delete(f"/jobs/{jobs['done']}"),
        "ingested-csv": get("/jobs/{ingest-csv}", until="done"),
        "ingested-ndjson": get("/jobs/{ingest-ndjson}", until="done"),
        "jobs": get("/jobs"),
        "unknown-job": get(f"/jobs/{'0' * 64}"),
        "job-of-another-type": upload("/jobs/ingest", "<caption/>", "application/xml"),
        "job-of-another-column": upload("/jobs/ingest?column=colour=red", text),
    }


def _service() -> Requests:
    pages = {"ui": "/ui", "docs": "/docs", "openapi": "/openapi.json", "metrics": "/metrics"}
    files = {name: f"/neo4j-browser/{name}" for name in ("guide.md", "style.grass", "queries.zip")}
    return {
        "livez": get("/livez"),
        "readyz": get("/readyz"),
        "info": get("/info"),
        **{name: get(path) for name, path in {**pages, **files}.items()},
    }


def _graph() -> Requests:
    captions = [
        "Chest X-ray showing a pleural effusion, no pneumothorax.",
        "Pulmonary arteries: possible pulmonary embolism (PE). PE of the right lung?",
        "zzz qqq.",
    ]
    return {
        "link": post("/link", {"captions": captions}),
        "search-concepts": get("/concepts?q=pleural&limit=5"),
        "concept": get("/concepts/C0032227"),
        "unknown-concept": get("/concepts/C9999999"),
        "no-cui": get("/concepts/lung"),
        "images": get("/images?limit=3"),
        "images-page-2": get("/images?limit=2&cursor=Uk1fMDAwMzQ="),
        "images-no-cursor": get("/images?cursor=!"),
        "image": get("/images/RM_00063"),
        "image-with-a-slash": get("/images/job/1"),
        "unknown-image": get("/images/nobody"),
    }


def _targets(snapshots: Mapping[str, str]) -> Requests:
    current, base, transe = snapshots["current"], snapshots["base"], snapshots["transe"]
    as_tensors = {"accept": TENSORS}
    similarity = {"image_ids": BATCH, "output": "similarity"}
    pair = {"image_id": "RM_00190", "other_id": "RM_00466"}
    found = {
        "targets": post("/targets", {"image_ids": BATCH}),
        "targets-tensors": post("/targets", {"image_ids": BATCH, "snapshot": current}, as_tensors),
        "targets-bfloat16": post("/targets", {"image_ids": BATCH, "dtype": "bfloat16"}, as_tensors),
        "targets-of-two-ranks": post(
            "/targets",
            {"image_ids": BATCH[:2], "column_ids": BATCH, "knowledge": "dk", "neighbour_mass": 0.3, "effective_neighbours": 2},
        ),
        "targets-shaped": post("/targets", {"image_ids": BATCH, "temperature": 0.2, "top_k": 3, "floor": 0.05}),
        "targets-paper-literal": post("/targets", {"image_ids": BATCH, "form": "paper-literal", "temperature": 1.0}),
        "targets-noise": post("/targets", {**similarity, "knowledge": "noise"}),
        "targets-of-the-base": post("/targets", {"image_ids": BATCH[:4], "snapshot": base, "output": "similarity"}),
        "targets-flagged": post("/targets", {"image_ids": [*BATCH, "nobody"], "output": "similarity", "on_unknown": "flag"}),
        "targets-unknown": post("/targets", {"image_ids": [*BATCH, "nobody"]}),
        "targets-gone": post("/targets", {"image_ids": BATCH, "snapshot": snapshots["gone"]}),
        "targets-no-such-variant": post("/targets", {"image_ids": BATCH, "representation": "transe"}),
        "targets-not-acceptable": post("/targets", {"image_ids": BATCH}, {"accept": "text/html"}),
        "representations": post("/representations", {"image_ids": BATCH}, as_tensors),
        "representations-float16": post(
            "/representations", {"image_ids": [*BATCH, "nobody"], "dtype": "float16", "on_unknown": "flag"}, as_tensors
        ),
        "neighbours": get("/images/RM_00190/neighbours?k=3"),
        "neighbours-of-an-appended-image": get("/images/RM_00720/neighbours?k=2&knowledge=dk"),
        "neighbours-of-nobody": get("/images/nobody/neighbours"),
        "explain": post("/explain", pair),
        "explain-without-ontology": post("/explain", {**pair, "knowledge": "dk", "limit": 2}),
    }
    for representation, snapshot in (("hybrid", current), ("concepts", current), ("transe", transe)):
        for knowledge in ("dk", "dk_ek"):
            asked = {"image_ids": BATCH[:4], "snapshot": snapshot, "representation": representation, "knowledge": knowledge}
            found[f"similarity-{representation}-{knowledge}"] = post("/targets", {**asked, "output": "similarity"})
        found[f"explain-{representation}"] = post("/explain", {**pair, "snapshot": snapshot, "representation": representation})
    return found


def _training(snapshot: str, training_ids: Sequence[str]) -> Requests:
    """As the trainer of 0.1.0 asks: what there is, all its images in the snapshot, a batch as a matrix or as vectors."""
    what = {"snapshot": snapshot, "knowledge": "dk_ek", "representation": "hybrid"}
    ids = list(training_ids)
    matrix = {"column_ids": ids, **what, "output": "similarity", "dtype": "float16"}
    headers = {"accept": f"{TENSORS}, application/json;q=0.5", "accept-encoding": "identity"}
    return {
        "trainer-info": get("/info", headers),
        "trainer-snapshot": get(f"/snapshots/{snapshot}", headers),
        "trainer-coverage": post("/targets", {"image_ids": ids[:1], **matrix, "on_unknown": "flag"}, headers),
        "trainer-matrix": post("/targets", {"image_ids": ids, **matrix, "on_unknown": "error"}, headers),
        "trainer-vectors": post("/representations", {"image_ids": ids, **what}, headers),
        "trainer-ancestors": get("/concepts/C0024109", headers),
    }


def _snapshots(snapshots: Mapping[str, str]) -> Requests:
    current, transe = snapshots["current"], snapshots["transe"]
    etag = f'"{current}-hybrid-dk_ek"'
    return {
        "snapshots": get("/snapshots"),
        "snapshot": get(f"/snapshots/{current}"),
        "snapshot-gone": get(f"/snapshots/{snapshots['gone']}"),
        "snapshot-no-id": get("/snapshots/latest"),
        "embeddings": get(f"/snapshots/{current}/embeddings"),
        "embeddings-not-modified": get(f"/snapshots/{current}/embeddings", {"if-none-match": etag}),
        "embeddings-transe": get(f"/snapshots/{transe}/embeddings?representation=transe&knowledge=dk"),
    }


def _refusals() -> Requests:
    return {
        "no-such-route": get("/nowhere"),
        "not-by-this-method": delete("/info"),
        "not-this-host": get("/info", {"host": "elsewhere.example"}),
        "not-json": {"method": "POST", "path": "/link", "headers": {"content-type": "application/json"}, "text": "{"},
        "not-of-this-type": upload("/link", "Pleural effusion.", "text/plain"),
        "not-of-this-form": post("/link", {"captions": "Pleural effusion."}),
        "unknown-field": post("/link", {"captions": ["Pleural effusion."], "colour": "red"}),
        "too-many-captions": post("/link", {"captions": ["Lung."] * 21}),
        "body-too-large": post("/link", {"captions": ["Lung." * 2_000]}),
    }


def _changes() -> Requests:
    """What changes the graph and publishes; last, for it changes what the others are answered."""
    items = [
        {"image_id": "new/1", "caption": "Chest X-ray showing a pleural effusion, no pneumothorax.", "split": "train"},
        {"image_id": "new/2", "caption": "CT of the chest.", "cuis": ["C0040405"], "split": "valid", "dataset": "made"},
    ]
    return {
        "upsert": post("/images", {"items": items}),
        "upsert-again": post("/images", {"items": items}),
        "upsert-other": post("/images", {"items": [{**items[0], "caption": "Normal chest."}]}),
        "upsert-replacing": post("/images", {"items": [{**items[1], "cuis": []}], "on_conflict": "replace"}),
        "append": post("/snapshots", {"append": True}),
        "append-nothing": post("/snapshots", {"append": True}),
        "delete": delete("/images/new/2"),
        "delete-again": delete("/images/new/2"),
        "publish": post("/snapshots", {"split": "train"}),
        "publish-nothing": post("/snapshots", {"split": "nowhere"}),
    }
