"""The first requests of a process: kernels are compiled, and vectors made, while the event loop goes on."""

import json
import subprocess
import sys

from kg_service.graph import open_store
from kg_service.ingest.pipeline import ingest_items
from kg_service.linking.builder import build_linker
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.append import append
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.schemas.images import ImageItem
from support.service import environment

FIRST_REQUESTS = """
import asyncio, json, sys, threading

compiling, working = set(), set()


def look(event, arguments):
    # Of each signature that is not there yet numba looks into its cache, be that empty or full.
    if event == "open" and str(arguments[0]).endswith(".nbi"):
        compiling.add(threading.current_thread())


sys.addaudithook(look)
from kg_service.api.application import create_app
from kg_service.api.routes import targets
from kg_service.config import load_settings

answer = targets._answer
targets._answer = lambda *arguments, **named: working.add(threading.current_thread()) or answer(*arguments, **named)


async def ask(app, path, body):
    content, status = json.dumps(body).encode(), []
    messages = [{"type": "http.request", "body": content}]
    headers = {"host": "localhost", "content-type": "application/json", "accept": "application/vnd.safetensors"}

    async def receive():
        return messages.pop()

    async def send(message):
        status.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "root_path": "", "client": None,
             "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    await app(scope, receive, send)
    assert status[0] == 200, status


async def main():
    app = create_app(load_settings(data=sys.argv[1]))
    published, appended = json.loads(sys.argv[2]), json.loads(sys.argv[3])
    for ids in (published, appended):
        for more in ({}, {"output": "similarity", "dtype": "float16"}, {"form": "paper-literal"}, {"column_ids": [*ids, *ids]},
                     {"dtype": "bfloat16", "temperature": 0.1}, {"top_k": 1}, {"knowledge": "noise"}):
            await ask(app, "/targets", {"image_ids": ids, **more})
        for dtype in ("float32", "float16"):
            await ask(app, "/representations", {"image_ids": ids, "dtype": dtype})


asyncio.run(main())
here = threading.current_thread()
assert compiling and here not in compiling, "compiled on the event loop"
assert here in working, "nothing was done on the event loop"
"""


def append_twice(data, vocabulary_folder):
    """Appends ten images, and then one, which therefore stays apart; an id of each."""
    vocabulary, store = open_vocabulary(vocabulary_folder), open_store(str(data / "graph.sqlite"))
    linker, snapshots = build_linker("dictionary", vocabulary), SnapshotFolder(data / "snapshots")
    for ids in ([f"later {number}" for number in range(10)], ["last"]):
        items = [ImageItem(image_id=image_id, caption="Chest CT showing pneumonia.", split="train") for image_id in ids]
        ingest_items(items, store, linker, vocabulary, "reject")
        append(store, snapshots)
    store.close()
    assert len(snapshots.open().manifest.appended.earlier) == 1
    return ["later 0", "last"]


def test_no_request_compiles_on_the_event_loop(data, vocabulary_folder):
    """Each kind is asked for images that were published, then for those of an append that came in two parts."""
    published = ["effusion", "fracture", "empty"]
    appended = [*append_twice(data, vocabulary_folder), "effusion"]
    command = [sys.executable, "-c", FIRST_REQUESTS, str(data), json.dumps(published), json.dumps(appended)]
    done = subprocess.run(command, env=environment({}), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
