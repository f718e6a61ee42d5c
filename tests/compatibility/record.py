"""Records the formats of this version as fixtures, which every later version must open: run it once, when a version is released.

    python tests/compatibility/record.py tests/compatibility/0.1.0

It makes them from a clean state as a user would, by the commands `kg-service` and `nbclip` and over HTTP, from captions, pictures
and concepts cut from `examples/`; the folder must not be there yet. The tests beside it then open the new folder too, without a
change of theirs. Write its README.md by hand: what is there, the commit and the date.

What it makes is the same each time but for what the programs themselves write by chance or by the clock: times of ingest and of
jobs, tokens of the graph's revisions, keys.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from asked import MADE_UP, SETTINGS, Request, Requests, of_a_full_service, of_a_service_with_keys, of_an_empty_service, upload
from machine import machine
from sample import APPENDED, PARTS, TRAINING, cut_sample

WORK = Path(tempfile.gettempdir()) / "nbclip-compatibility"
"""Where all is made; always the same, as some files name paths."""
KEPT_STEP = 8
"""Of the training's 16: the checkpoint that the recorded run has, as one that was killed."""
HEADERS = ("content-type", "location", "etag", "vary", "retry-after", "www-authenticate", "allow", "content-security-policy")
"""Of answers, those that are part of the API."""
SOMEBODY_ELSE = "neo4j://127.0.0.1:1"
"""A graph store that is away, so that jobs wait."""
DEADLINE_S = 60.0


def main(target: Path) -> None:
    if target.exists():
        sys.exit(f"error: {target} is there already\nhint: remove it, or name the folder of another version")
    target = target.absolute()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    os.chdir(WORK)
    cut_sample(Path("input"))
    write_json(Path("expected/machine.json"), machine())
    record_vocabulary()
    snapshots = record_graph_and_snapshots()
    jobs = record_jobs()
    record_run()
    record_settings()
    keys = record_keys()
    record_wire(snapshots, jobs, keys)
    for name in ("rrf", "labelled.ndjson", *(f"{part}.csv" for part in PARTS)):
        remove(Path("input") / name)
    for name in ("input", "data", "keys", "run", "settings", "expected", "wire", "vectors.safetensors"):
        move(Path(name), target / name)


def record_vocabulary() -> None:
    """Vocabulary, name index, prior; what they make of captions."""
    kg("vocabulary", "build", "input/rrf", "--licence", "open, see examples/vocabulary/LICENSE.md")
    kg("linker", "fit", "input/labelled.ndjson", "--holdout", "0")
    caption = "Pe on CT image of the lung, mediastinum, pleura; no pneumothorax."
    write_json(Path("expected/link.json"), json.loads(kg("link", caption, "--json")))
    write_json(
        Path("expected/link-with-prior.json"), json.loads(kg("link", caption, "--json", "--prior", "data/vocabulary.prior"))
    )


def record_graph_and_snapshots() -> dict[str, str]:
    """A graph; a snapshot of one dataset by TransE; another by all that needs no torch, to which images are appended twice."""
    kg("ingest", "input/few.csv", "--dataset", "few")
    kg("ingest", "input/others.csv", "--dataset", "others")
    ids = {"gone": "f" * 64}
    ids["transe"] = kg("snapshot", "publish", "--dataset", "few", "--representation", "transe")
    publish = ("snapshot", "publish", "--split", "train")
    ids["base"] = kg(*publish, "--representation", "hybrid", "--representation", "concepts")
    for number in range(len(APPENDED)):
        kg("ingest", f"input/appended-{number + 1}.csv", "--dataset", "others")
        ids["current"] = kg("snapshot", "append")
    kg("snapshot", "embeddings", "vectors.safetensors")
    write_json(Path("expected/snapshots.json"), {**ids, "list": kg("snapshot", "list").splitlines()})
    # What publishing all of that graph gives, in a folder of its own.
    shutil.copytree("data", "again")
    new_id = kg(*publish, "--representation", "hybrid", "--representation", "concepts", data="again")
    move(Path("again/snapshots") / new_id / "manifest.json", Path("expected/published-anew.json"))
    return ids


def record_jobs() -> dict[str, str]:
    """One job of each kind: done, failed, cancelled, and waiting."""
    ids = {}
    with service("data") as client:
        for state, body in (("done", Path("input/done.csv").read_text()), ("failed", "number,caption\n1,Lung.\n")):
            job = sent(client, upload("/jobs/ingest?split=valid&dataset=others", body)).json()["id"]
            ids[state] = job
            sent(client, {"method": "GET", "path": f"/jobs/{job}", "headers": {}, "until": state})
    with service("data", KG_STORE=SOMEBODY_ELSE) as client:
        for state in ("cancelled", "waiting"):
            body = Path(f"input/{state}.csv").read_text()
            ids[state] = sent(client, upload("/jobs/ingest?dataset=others", body)).json()["id"]
        client.delete(f"/jobs/{ids['cancelled']}")
    write_json(Path("expected/jobs.json"), ids)
    return ids


def record_run() -> None:
    """A training of 16 steps with targets from the snapshot, cut off after 8: later checkpoints are taken away, as if it had been
    killed, and an earlier one for its size. What the other steps gave is kept apart. Then it is evaluated, by classes of which
    no gallery is shown: pictures are looked for where the evaluation saw them, which no copy has."""
    nbclip("train", "--preset", "input/model/micro.yaml", "--data", "input/metadata.csv", "--run", "run")
    shutil.copy("run/metrics.jsonl", "expected/metrics.jsonl")
    for file in Path("run/checkpoints").glob("step-*"):
        if int(file.stem.removeprefix("step-")) != KEPT_STEP:
            file.unlink()
    # TensorBoard's own files, which name this machine and which no command reads.
    shutil.rmtree("run/tensorboard")
    nbclip("evaluate", "run", "--min-class-size", "3")


def record_settings() -> None:
    """Every key of presets, as a user keeps them in files of his own."""
    for preset in ("tiny-nbclip", "paper"):
        write(Path(f"settings/{preset}.yaml"), nbclip("presets", preset) + "\n")


def record_keys() -> dict[str, str]:
    """A file of three keys, of which two are known to the tests."""
    Path("keys").mkdir()
    keys = {
        scope: kg("keys", "add", f"made-up-{scope}", "--scope", scope, "--keys-file", "keys/keys.json")
        for scope in ("read", "ingest", "admin")
    }
    write_json(Path("expected/keys.json"), {"wrong": MADE_UP, **keys})
    return keys


def record_wire(snapshots: Mapping[str, str], jobs: Mapping[str, str], keys: Mapping[str, str]) -> None:
    """Requests and answers, each group of a service and a data folder of its own."""
    shutil.copytree("data", "full")
    shutil.copytree("data", "locked", ignore=shutil.ignore_patterns("jobs"))
    with service("full", **SETTINGS) as client:
        refuse_gaps(client, record_group("full", client, of_a_full_service(snapshots, jobs, TRAINING)))
    with service("empty", **SETTINGS) as client:
        record_group("empty", client, of_an_empty_service())
    with service("locked", **SETTINGS, KG_KEYS_FILE="keys/keys.json") as client:
        record_group("locked", client, of_a_service_with_keys(keys))
    write_json(Path("wire/settings.json"), SETTINGS)


def record_group(group: str, client: httpx2.Client, requests: Requests) -> Requests:
    """Asks in order, and writes each request with its answer; a job's id stands for `{name of the request}` in a path."""
    new_ids = {}
    for number, (name, request) in enumerate(requests.items(), 1):
        answer = sent(client, {**request, "path": request["path"].format_map(new_ids)})
        if answer.status_code == 202:
            new_ids[name] = answer.json()["id"]
        write_answer(Path("wire") / group / f"{number:02}-{name}", request, answer)
    return requests


def write_answer(path: Path, request: Request, answer: httpx2.Response) -> None:
    """A JSON file; the body beside it where it is of tensors, and left out where it is for people."""
    media_type = answer.headers.get("content-type", "")
    recorded: dict[str, Any] = {
        "status": answer.status_code,
        "headers": {name: answer.headers[name] for name in HEADERS if name in answer.headers},
    }
    if "safetensors" in media_type:
        write(path.with_suffix(".safetensors"), answer.content)
    elif "json" in media_type and answer.content and request["path"] != "/openapi.json":
        recorded["json"] = answer.json()
    elif request["path"] == "/metrics":
        recorded["metrics"] = re.findall("^# TYPE (.*)$", answer.text, re.MULTILINE)
    # A line for each: indented, numbers would take a line each.
    parts = {"request": request, "answer": recorded}
    lines = ",\n".join(f' "{name}": {json.dumps(part, ensure_ascii=False)}' for name, part in parts.items())
    write(path.with_suffix(".json"), f"{{\n{lines}\n}}\n")


def refuse_gaps(client: httpx2.Client, requests: Requests) -> None:
    """Every route and method that the service describes must have been asked."""
    asked = {(request["method"].lower(), request["path"].partition("?")[0]) for request in requests.values()}
    routes = client.get("/openapi.json").json()["paths"]
    patterns = {(method, route): re.sub(r"{\w+}", ".+", route) for route, methods in routes.items() for method in methods}
    left_out = [key for key, pattern in patterns.items() if not any(key[0] == m and re.fullmatch(pattern, p) for m, p in asked)]
    if left_out:
        sys.exit(f"error: not recorded: {left_out}\nhint: add them to asked.py")


def sent(client: httpx2.Client, request: Request) -> httpx2.Response:
    """The answer; of a request with `until`, the first one with this state."""
    body = {"json": request["json"]} if "json" in request else {"content": request.get("text", "").encode()}
    deadline = time.monotonic() + DEADLINE_S
    while True:
        answer = client.request(request["method"], request["path"], headers=request["headers"], **body)
        if "until" not in request or answer.json()["state"] == request["until"]:
            return answer
        if time.monotonic() > deadline:
            sys.exit(f"error: {request['path']} is not {request['until']}: {answer.text}")
        time.sleep(0.1)


@contextmanager
def service(data: str, **settings: str) -> Iterator[httpx2.Client]:
    """A running service, and a client of it; ended as a user does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["kg-service", "serve", "--data", data, "--port", str(port)]
    with Path("service.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment(settings), stderr=log)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + DEADLINE_S
            while not lives(client):
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"error: the service did not start: see {WORK}/service.log")
                time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait()


def lives(client: httpx2.Client) -> bool:
    try:
        return client.get("/livez").is_success
    except httpx2.TransportError:
        return False


def kg(*arguments: str, data: str = "data") -> str:
    return run("kg-service", *arguments, KG_DATA=data)


def nbclip(*arguments: str) -> str:
    return run("nbclip", *arguments)


def run(*command: str, **settings: str) -> str:
    """What the command prints."""
    done = subprocess.run(command, env=environment(settings), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} ended with {done.returncode}")
    return done.stdout.strip()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's, with the commands that are installed beside Python, and no settings but these."""
    held = {name: value for name, value in os.environ.items() if not name.startswith(("KG_", "NBCLIP_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{held['PATH']}"
    return {**held, "PATH": path, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200", **settings}


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
