"""A knowledge-graph service over real HTTP that holds what a test gives it."""

import json
import threading
from collections import deque
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from nbclip import codec
from nbclip.codec import TargetMatrix
from nbclip.schemas.concepts import ConceptOut, ConceptRef
from nbclip.schemas.linking import LinkedCaptionOut, LinkRequest, LinkResponse, MentionOut
from nbclip.schemas.service import Info, Problem
from nbclip.schemas.snapshots import SnapshotManifest, SnapshotOut
from nbclip.schemas.targets import RepresentationsRequest, TargetsRequest
from nbclip.targets import build_targets
from nbclip.vectors import VectorBatch, encode_vectors

OLD, NEW = "0" * 64, "f" * 64


class KnowledgeService:
    """Speaks `GET /info`, `/snapshots/ID`, `/concepts/CUI`, `POST /targets`, `/representations`, `/link`, by `/v1` where told to.

    An image's vector follows from its id's last digit: images of one digit are alike. `without` have no CUIs, `unknown` are
    not in the snapshot, which is one of `split`. `troubles` are (status, headers) given in place of the next answers. `asked` are
    the bodies seen, `paths` all paths. `api="v1"` makes it a service whose paths have a version, else it is one of 0.1.0.
    `ancestors` are those of CUIs, `linked` the (CUI, assertion) of words, which `linker` finds in captions.
    """

    def __init__(self):
        self.without = set()
        # What `write_pairs` and `metadata` have beside their training images.
        self.unknown = {f"id{number}" for number in range(24, 32)} | {f"picture-{number:03d}" for number in range(48, 108)}
        self.troubles = deque()
        self.split = "train"
        self.asked = []
        self.key = None
        self.snapshots = {OLD: False, NEW: True}
        self.ancestors = {}
        self.linked, self.linker = {}, "test-1"
        self.api, self.paths = None, []
        self.port = 0
        self._server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                service.answer(self, None)

            def do_POST(self):
                service.answer(self, json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, handler, body):
        if self._server is None:  # stopped: connections that were open die with it
            handler.close_connection = True
            return None
        self.paths.append(handler.path)
        if body is not None:
            self.asked.append(body)
        if self.troubles:
            return self.send(handler, *self.troubles.popleft())
        if self.key is not None and handler.headers.get("authorization") != f"Bearer {self.key}":
            return self.problem(handler, 401, "a valid key is needed")
        path = handler.path if self.api is None else handler.path.removeprefix("/v1")
        match path:
            case "/info":
                return self.send(handler, 200, {"content-type": "application/json"}, json.dumps(self.info()).encode())
            case "/targets":
                return self.targets(handler, TargetsRequest.model_validate(body))
            case "/link":
                return self.json(handler, self.links(LinkRequest.model_validate(body).captions))
            case "/representations":
                return self.representations(handler, RepresentationsRequest.model_validate(body))
        held, cui = path.removeprefix("/snapshots/"), path.removeprefix("/concepts/")
        if held in self.snapshots:
            return self.json(handler, self.snapshot(held, self.snapshots[held]))
        if cui in self.ancestors:
            return self.json(handler, self.concept(cui))
        return self.problem(handler, 404, "there is no such thing")

    def targets(self, handler, request):
        if request.snapshot not in self.snapshots:
            return self.problem(handler, 410, f"snapshot {request.snapshot} is held no more")
        columns = request.column_ids or request.image_ids
        missing = [image_id for image_id in columns if image_id in self.unknown]
        if missing and request.on_unknown == "error":
            return self.problem(handler, 422, f"unknown images: {', '.join(missing)}", "unknown-images")
        matrix = self.matrix(request.image_ids, columns, request.snapshot)
        if request.output == "targets":
            own = np.array([columns.index(image_id) for image_id in request.image_ids])
            rows = build_targets(matrix.values, own, matrix.has_knowledge, request)
            matrix = replace(matrix, output="targets", values=rows)
        return self.send(handler, 200, {"content-type": codec.MEDIA_TYPE}, codec.encode(matrix, request.dtype))

    def representations(self, handler, request):
        batch = self.vectors(request.image_ids, request.snapshot)
        return self.send(handler, 200, {"content-type": codec.MEDIA_TYPE}, encode_vectors(batch, request.dtype))

    def links(self, captions):
        results = []
        for caption in captions:
            found = [(word, *self.linked[word]) for word in caption.split() if word in self.linked]
            common = {"groups": [], "start": 0, "end": 1, "score": 1.0, "rule": "exact"}
            mentions = [MentionOut(cui=cui, name=word, text=word, assertion=said, **common) for word, cui, said in found]
            results.append(LinkedCaptionOut(caption=caption, mentions=mentions))
        return LinkResponse(linker=self.linker, results=results)

    def vectors(self, image_ids, snapshot):
        """Their products are `matrix` off its diagonal: √.05 that all share, √.75 of the digit."""
        known = np.array([image_id not in self.without for image_id in image_ids])
        digits = [[0, 1 + int(image_id[-1])] for image_id in image_ids]
        indptr = np.concatenate(([0], np.cumsum(2 * known))).astype(np.int32)
        indices = np.array([place for pair, here in zip(digits, known, strict=True) if here for place in pair], np.int32)
        data = np.tile(np.sqrt(np.array([0.05, 0.75], np.float32)), known.sum())
        nothing = np.zeros((len(image_ids), 0), np.float32), 11, known, np.zeros_like(known), {"snapshot": snapshot}
        return VectorBatch(indptr, indices, data, *nothing)

    def matrix(self, rows, columns, snapshot):
        similarity = np.array([[1.0 if r == c else 0.8 if r[-1] == c[-1] else 0.05 for c in columns] for r in rows], np.float32)
        known = np.array([c not in self.without and c not in self.unknown for c in columns])
        unknown = np.array([c in self.unknown for c in columns])
        return TargetMatrix("similarity", similarity * known[None, :], known, unknown, {"snapshot": snapshot})

    def info(self):
        current = next((held for held, current in self.snapshots.items() if current), None)
        words = {"name": "kg-service", "version": "9.9.9", "store": "test", "linker": "test"}
        info = Info(**words, vocabulary={}, snapshot=current, limits={}, counts={}).model_dump(mode="json")
        return info if self.api is None else {**info, "api": self.api}

    def concept(self, cui):
        refs = [ConceptRef(cui=above, name=above) for above in self.ancestors[cui]]
        return ConceptOut(cui=cui, name=cui, names=[], semantic_types=[], parents=[], children=[], ancestors=refs, image_count=0)

    def snapshot(self, snapshot_id, current):
        counts = dict.fromkeys(("images", "images_with_knowledge", "concepts", "attributes", "is_a_edges"), 0)
        variants = {"hybrid/dk_ek": {"decay": 0.5}}
        manifest = SnapshotManifest(
            vocabulary={}, linkers=[], dataset=None, split=self.split, variants=variants, versions={}, files=[], **counts
        )
        return SnapshotOut(id=snapshot_id, current=current, manifest=manifest)

    def json(self, handler, model):
        self.send(handler, 200, {"content-type": "application/json"}, model.model_dump_json().encode())

    def problem(self, handler, status, detail, code="x"):
        body = Problem(type=f"urn:nbclip:problem:{code}", title="x", status=status, detail=detail, hint="the service's hint")
        self.send(handler, status, {"content-type": "application/problem+json"}, body.model_dump_json().encode())

    def send(self, handler, status, headers=None, body=b""):
        handler.send_response(status)
        for name, value in {**(headers or {}), "content-length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def service(monkeypatch):
    monkeypatch.delenv("NBCLIP_SERVICE_KEY", raising=False)
    running = KnowledgeService()
    running.start()
    yield running
    running.stop()
