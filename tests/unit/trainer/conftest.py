"""A knowledge-graph service over real HTTP that holds what a test gives it, and small picture sets."""

import csv
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat

import numpy as np
import pytest
from nbclip import codec
from nbclip.codec import TargetMatrix
from nbclip.schemas.service import Info, Problem
from nbclip.schemas.snapshots import SnapshotManifest, SnapshotOut
from nbclip.schemas.targets import RepresentationsRequest, TargetsRequest
from nbclip.vectors import VectorBatch, encode_vectors
from nbclip_trainer.config import TrainConfig
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.runs.results import Protocol
from nbclip_trainer.training.loop import train
from PIL import Image

OLD, NEW = "0" * 64, "f" * 64


class KnowledgeService:
    """Speaks `GET /info`, `GET /snapshots/ID`, `POST /targets` and `POST /representations`.

    An image's vector follows from its id's last digit: images of one digit are alike. `without` have no CUIs, `unknown` are
    not in the snapshot. `troubles` are (status, headers) given in place of the next answers. `asked` are the bodies seen.
    """

    def __init__(self):
        self.without, self.unknown = set(), set()
        self.troubles = deque()
        self.asked = []
        self.key = None
        self.snapshots = {OLD: False, NEW: True}
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
        if body is not None:
            self.asked.append(body)
        if self.troubles:
            return self.send(handler, *self.troubles.popleft())
        if self.key is not None and handler.headers.get("authorization") != f"Bearer {self.key}":
            return self.problem(handler, 401, "a valid key is needed")
        match handler.path:
            case "/info":
                return self.json(handler, self.info())
            case "/targets":
                return self.targets(handler, TargetsRequest.model_validate(body))
            case "/representations":
                return self.representations(handler, RepresentationsRequest.model_validate(body))
        held = handler.path.removeprefix("/snapshots/")
        if held in self.snapshots:
            return self.json(handler, self.snapshot(held, self.snapshots[held]))
        return self.problem(handler, 404, "there is no such thing")

    def targets(self, handler, request):
        if request.snapshot not in self.snapshots:
            return self.problem(handler, 410, f"snapshot {request.snapshot} is held no more")
        columns = request.column_ids or request.image_ids
        missing = [image_id for image_id in columns if image_id in self.unknown]
        if missing and request.on_unknown == "error":
            return self.problem(handler, 422, f"unknown images: {', '.join(missing)}")
        matrix = self.matrix(request.image_ids, columns, request.snapshot)
        return self.send(handler, 200, {"content-type": codec.MEDIA_TYPE}, codec.encode(matrix, request.dtype))

    def representations(self, handler, request):
        batch = self.vectors(request.image_ids, request.snapshot)
        return self.send(handler, 200, {"content-type": codec.MEDIA_TYPE}, encode_vectors(batch, request.dtype))

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
        return Info(**words, vocabulary={}, snapshot=current, limits={}, counts={})

    def snapshot(self, snapshot_id, current):
        counts = dict.fromkeys(("images", "images_with_knowledge", "concepts", "attributes", "is_a_edges"), 0)
        variants = {"hybrid/dk_ek": {"decay": 0.5}}
        manifest = SnapshotManifest(
            vocabulary={}, linkers=[], dataset=None, split="train", variants=variants, versions={}, files=[], **counts
        )
        return SnapshotOut(id=snapshot_id, current=current, manifest=manifest)

    def json(self, handler, model):
        self.send(handler, 200, {"content-type": "application/json"}, model.model_dump_json().encode())

    def problem(self, handler, status, detail):
        body = Problem(type="urn:nbclip:problem:x", title="x", status=status, detail=detail, hint="the service's hint")
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


WORDS = ("head", "chest", "knee", "spine")


@pytest.fixture
def write_pairs(tmp_path):
    """Writes pictures and their CSV; picture and caption tell the class, which is the id's last digit modulo 4."""

    def write(name="pairs.csv", train=24, valid=8, size=40, **columns):
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        generator = np.random.default_rng(0)
        rows = []
        for number, split in enumerate(chain(repeat("train", train), repeat("valid", valid))):
            kind = number % 10 % 4
            pixels = generator.integers(0, 60, (size, size, 3), dtype=np.uint8)
            pixels[(kind // 2) * size // 2 :][: size // 2, (kind % 2) * size // 2 :][:, : size // 2] += 150
            Image.fromarray(pixels).save(folder / f"{number}.png")
            caption = f"picture {number} of the {WORDS[kind]}"
            rows.append({"image_id": f"id{number}", "file": f"{number}.png", "caption": caption, "split": split, **columns})
        path = folder / name
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def small(write_pairs):
    """Overrides that make `nbclip-tiny` presets train in milliseconds on `write_pairs`."""

    def overrides(*more, data=None):
        return [
            "model.architecture.embed_dim=16",
            "model.architecture.vision_cfg.image_size=32",
            "model.architecture.vision_cfg.width=8",
            "model.architecture.text_cfg={context_length: 16, width: 16, heads: 2, layers: 1}",
            "batch_size=8",
            "epochs=2",
            "device.threads=1",
            "device.name=cpu",
            f"data.files=['{data or write_pairs()}']",
            *more,
        ]

    return overrides


HEADER = (
    "image_id", "file", "caption", "caption_source", "modality", "organ", "modality_organ",
    "split", "source", "licence", "group", "cuis",
)  # fmt: skip
MODALITIES, ORGANS = ("CT", "MR", "XR"), ("head", "chest")


@pytest.fixture(scope="session")
def metadata(tmp_path_factory):
    """108 random pictures: 48 train, 12 valid, 48 retrieval in cases of two, CUIs on every other case."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(108):
            split = "train" if number < 48 else "valid" if number < 60 else "retrieval"
            case = number // 2
            modality, organ = MODALITIES[case % 3], ORGANS[case // 3 % 2]
            level = 40 + 60 * (case % 3)
            pixels = generator.integers(level, level + 80, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            writer.writerow([
                f"picture-{number:03d}", f"{number}.png", f"{modality} of the {organ}, case {case}",
                "real" if case % 4 else "template", modality, organ, f"{modality}-{organ}", split, "somewhere", "CC0 1.0",
                f"case-{case}", f"C000000{case % 3} C000001{case // 3 % 2}" if case % 2 else "",
            ])  # fmt: skip
    return folder / "metadata.csv"


def tiny(metadata, **settings):
    architecture = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1},
    }
    return TrainConfig(
        **{
            "epochs": 2,
            "batch_size": 16,
            "model": {"name": "tiny", "architecture": architecture},
            "data": {"files": [metadata], "pictures": "memory", "workers": 0},
            "augmentation": {"kind": "none"},
            "log": {"every": 1, "diagnostics_every": 1},
            "device": {"name": "cpu", "threads": 1},
            **settings,
        }
    )


PROTOCOL = Protocol(class_ks=(1, 5), cui_ks=(1, 5), minimum_class_size=4, resamples=200)


@pytest.fixture(scope="session")
def runs(metadata, tmp_path_factory):
    """Two trained and evaluated runs: one-hot targets, and noise."""
    folder = tmp_path_factory.mktemp("runs")
    noise = {"targets": {"knowledge": "noise", "noise": "per_image"}, "loss": {"name": "sm"}}
    for name, settings in {"clip": {}, "noise-twin": noise}.items():
        train(tiny(metadata, **settings), folder / name)
        evaluate_run(folder / name, protocol=PROTOCOL)
    return [folder / "clip", folder / "noise-twin"]
