"""Runs a linker in a process and an environment of its own, once for each question; answers are kept."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from corpora import Document, VocabularyName, vocabulary
from kg_service.linking.fitting.scoring import Hit
from tasks import Corpus, Task, labelled_texts, semantic_types, unlabelled_texts

CACHE = Path.home() / ".cache" / "nbclip-bench"
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PROTOCOL = "2"
"""Of `peers/worker.py`; a new one makes every kept answer old."""

Settings = dict[str, Any]


class PeerFailed(Exception):
    """A peer could not be installed or run; the text says where its log is."""


@dataclass(frozen=True, slots=True, eq=False)
class Peer:
    """A linker under test.

    Attributes:
        name: of its module in `peers`; with `peers/<name>.txt`, it gets an environment of its own, else this one.
        title: as tables show it.
        distribution: whose version tables show.
        settings: what is tried on the choosing parts.
        knob: the setting that the precision-recall curves sweep; empty: none.
        labelled: fitted on the labels of the choosing part, so nothing is chosen there: its first settings are reported.
        sources: files and folders of this repository whose code it runs, beside its module.
        beside: runs in the environment of its name beside this one, which `make setup-<name>` makes.
    """

    name: str
    title: str
    distribution: str
    settings: tuple[Settings, ...]
    knob: str = ""
    labelled: bool = False
    sources: tuple[str, ...] = ()
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """A peer's compiled vocabulary: where, what making it took, and what it takes on disk."""

    folder: Path
    cpu_s: float
    peak_mb: float
    size_mb: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer said of each text, the CPU seconds that took, and the process's peak memory."""

    hits: list[list[Hit]]
    cpu_s: float
    load_s: float
    peak_mb: float


def say(text: str) -> None:
    """Progress, to stderr."""
    print(text, file=sys.stderr, flush=True)


def index_of(peer: Peer, task: Task) -> Index:
    """The peer's index for a task, made if it is not there.

    There is one for each vocabulary; of a linker that learns from labels, one for each corpus too.

    Raises:
        PeerFailed: it can't be made.
    """
    folder, texts = _index_folder(peer, task), _texts_for(peer, task)
    if not (folder / "built.json").is_file():
        say(f"{peer.title}: compiling vocabulary {task.vocabulary}")
        shutil.rmtree(folder, ignore_errors=True)
        _call(peer, ["build", str(_release(task.vocabulary)), str(texts), str(folder)])
    built = json.loads((folder / "built.json").read_text())
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Index(folder, built["cpu_s"], built["peak_mb"], size / 2**20)


@cache
def _index_folder(peer: Peer, task: Task) -> Path:
    key = _digest(PROTOCOL, _code(peer), _sha256(_release(task.vocabulary) / "MRCONSO.RRF"), _sha256(_texts_for(peer, task)))
    return CACHE / "indices" / f"{peer.name}-{task.vocabulary}-{key}"


def ask(peer: Peer, task: Task, texts: Sequence[Document], settings: Settings) -> Answer:
    """The peer's mentions in `texts`, from the kept answers or from a run of it.

    Raises:
        PeerFailed: it can't be installed, compile the vocabulary or run.
    """
    kept, wanted, lines = _question(peer, task, texts, settings)
    if not kept.is_file():
        index = index_of(peer, task)
        say(f"{peer.title}: {task.corpus} {task.vocabulary}, {len(texts)} texts, {settings}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        answer = _call(peer, ["link", str(index.folder), wanted], lines)
        scratch = kept.with_suffix(".new")
        scratch.write_bytes(gzip.compress(answer.encode(), mtime=0))
        scratch.replace(kept)
    *mentions, figures = map(json.loads, gzip.decompress(kept.read_bytes()).decode().splitlines())
    if len(mentions) != len(texts):
        raise PeerFailed(f"{peer.title} answered {len(mentions)} of {len(texts)} texts: {kept}")
    return Answer([[Hit(start, end, cui) for start, end, cui, _ in found] for found in mentions], **figures)


def is_answered(peer: Peer, task: Task, texts: Sequence[Document], settings: Settings) -> bool:
    """Whether `ask` has a kept answer."""
    return _question(peer, task, texts, settings)[0].is_file()


def _question(peer: Peer, task: Task, texts: Sequence[Document], settings: Settings) -> tuple[Path, str, str]:
    """Where its answer is kept, the settings in JSON and the texts as lines."""
    wanted = json.dumps({**settings, "semantic_types": semantic_types(task.corpus)}, sort_keys=True)
    lines = "".join(json.dumps(document.text) + "\n" for document in texts)
    key = _digest(_index_folder(peer, task).name, wanted, lines)
    return CACHE / "answers" / f"{peer.name}-{task.corpus}-{task.vocabulary}-{key}.gz", wanted, lines


def _call(peer: Peer, arguments: list[str], lines: str = "") -> str:
    log = CACHE / "logs" / f"{peer.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # One thread each, and no luck in the order of sets.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with log.open("w", encoding="utf-8") as stderr:
        done = subprocess.run(
            [_python(peer), "-m", f"peers.{peer.name}", *arguments],
            input=lines,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=HERE,
            env={**os.environ, **threads, "PYTHONHASHSEED": "0"},
            encoding="utf-8",
        )
    if done.returncode:
        raise PeerFailed(f"{peer.title} ended with status {done.returncode}: {log}")
    return done.stdout


@cache
def _python(peer: Peer) -> str:
    """The interpreter of the peer's environment, which is made from its pinned requirements if it is not there."""
    if peer.beside:
        python = Path(f"{sys.prefix}-{peer.name}") / "bin" / "python"
        if not python.is_file():
            raise PeerFailed(f"{peer.title} needs {python}, from make setup-{peer.name}: it is for Python 3.11 and 3.12")
        return str(python)
    requirements = HERE / "peers" / f"{peer.name}.txt"
    if not requirements.is_file():
        return sys.executable
    folder = CACHE / "peers" / f"{peer.name}-{_digest(requirements.read_text(), sys.version)}"
    python = folder / "bin" / "python"
    if not (folder / "installed").is_file():
        say(f"{peer.title}: installing into {folder}")
        uv = shutil.which("uv") or str(REPOSITORY / ".tools" / "uv" / "bin" / "uv")
        pip = ["pip", "install", "--python", str(python), "-r", str(requirements)]
        for command in (["venv", "--clear", "--python", sys.executable, str(folder)], pip):
            if subprocess.run([uv, *command, "--quiet"], stdout=sys.stderr).returncode:
                raise PeerFailed(f"{peer.title} can't be installed from {requirements}")
        (folder / "installed").touch()
    return str(python)


@cache
def _release(name: VocabularyName) -> Path:
    """The vocabulary's RRF files without suppressed rows, which some peers would take."""
    vocabulary(name)
    source, folder = CACHE / f"{name}.rrf", CACHE / f"{name}.peers.rrf"
    folder.mkdir(exist_ok=True)
    for file in ("MRREL.RRF", "MRSTY.RRF"):
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to(source / file)
    with (source / "MRCONSO.RRF").open(encoding="utf-8") as rows, (folder / "MRCONSO.RRF").open("w", encoding="utf-8") as out:
        out.writelines(row for row in rows if row.split("|")[16] == "N")
    return folder


def _texts_for(peer: Peer, task: Task) -> Path:
    return _labelled(task.corpus) if peer.labelled else _unlabelled()


@cache
def _unlabelled() -> Path:
    path = CACHE / "unlabelled.jsonl"
    path.write_text("".join(json.dumps(text) + "\n" for text in unlabelled_texts()), encoding="utf-8")
    return path


@cache
def _labelled(corpus: Corpus) -> Path:
    rows = (
        {"text": text.text, "spans": [(start, end, sorted(cuis)) for start, end, cuis in text.spans], "cuis": sorted(text.cuis)}
        for text in labelled_texts(corpus)
    )
    path = CACHE / f"labelled-{corpus}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _code(peer: Peer) -> str:
    """Digest of what the peer runs: its module, its requirements, its sources."""
    files = [HERE / "peers" / f"{peer.name}.py", HERE / "peers" / f"{peer.name}.txt"]
    for source in (REPOSITORY / source for source in peer.sources):
        files += [source] if source.is_file() else sorted(source.rglob("*"))
    return _digest(*(_sha256(file) for file in files if file.suffix in {".py", ".tsv", ".txt"} and file.is_file()))


@cache
def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
