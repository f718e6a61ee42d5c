"""What is fuzzed: functions of bytes that return for every input, good or refused, and raise for what must not happen.

None needs a fuzzer; `run.py` drives them, and `test_corpora.py` gives each its corpus.
"""

from __future__ import annotations

import re
import tempfile
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import pyarrow as pa
from kg_service.ingest.readers import ReadOptions, Row, read_items
from kg_service.linking.builder import build_linker
from kg_service.linking.model import Linker
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.files import Part
from kg_service.vocabulary.model import BadRow
from kg_service.vocabulary.rrf import MRCONSO, BadRows, read_rrf
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.codec import decode, encode
from nbclip.errors import InvalidInput, NBClipError
from nbclip.files.companions import read_companion
from nbclip.files.layout import ALIASES, Layout
from nbclip.files.reading import Rows
from nbclip.vectors import decode_vectors, encode_vectors

VOCABULARY = Path(__file__).parents[2] / "examples" / "vocabulary"
RELEASE_FILES = ("MRCONSO", "MRSTY", "MRREL", "MRRANK", "MRFILES", "MRSAB", "MRDOC")
BETWEEN = b"\n----\n"
"""Stands between the files of a release."""
_ATOM = re.compile(rb"(C[0-9]{7})\|(?:[^|\r\0]*\|){13}([^|\r\0]*)\|(?:[^|\r\0]*\|){3}")
_COLUMNS = pa.schema([("CUI", pa.string()), ("STR", pa.string())])
_AS_TRAINED = Layout(tuple(ALIASES), ("image_id", "caption"), extras=True)
_MAX_CAPTION = 20_000

Target = Callable[[bytes], None]


def rrf(content: bytes) -> None:
    """A file of RRF: its good rows are those that a pattern matches, and every other line is reported."""
    path = _scratch() / "MRCONSO.RRF"
    path.write_bytes(content)
    lines = _lines(content)
    good = [match for line in lines if (match := _ATOM.fullmatch(line)) and _is_utf8(line)]
    bad_rows = BadRows(limit=3)
    with suppress(NBClipError):
        parts = (Part(path.name, len(content), path),)
        read = pa.concat_tables([pa.table({"CUI": [], "STR": []}, _COLUMNS), *read_rrf(parts, MRCONSO, ("CUI", "STR"), bad_rows)])
        assert read["CUI"].to_pylist() == [match[1].decode() for match in good]
        assert read["STR"].to_pylist() == [match[2].decode() for match in good]
        assert bad_rows.count == len(lines) - len(good)


def release(content: bytes) -> None:
    """A release (`RELEASE_FILES`, one after the other) is compiled, or refused."""
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        for name, file in zip(RELEASE_FILES, content.split(BETWEEN), strict=False):
            (Path(folder) / f"{name}.RRF").write_bytes(file)
        _build(Path(folder))


def archive(content: bytes) -> None:
    """A release in an archive, likewise."""
    path = _scratch() / "2025AB-meta.nlm"
    path.write_bytes(content)
    _build(path)


def table(content: bytes) -> None:
    """A table, with commas or tabs, named as one or not."""
    for name in ("captions.csv", "captions.tsv"):
        _read(name, content)


def roco(content: bytes) -> None:
    """Captions as ROCO has them."""
    _read("captions.txt", content)


def ndjson(content: bytes) -> None:
    """An object a line."""
    _read("captions.ndjson", content)


def gzipped(content: bytes) -> None:
    """A packed text of any kind."""
    _read("captions.csv.gz", content)


def parquet(content: bytes) -> None:
    """A Parquet file."""
    _read("captions.parquet", content)


def shard(content: bytes) -> None:
    """A WebDataset shard."""
    _read("train-000.tar", content)


def companion(content: bytes) -> None:
    """A companion file of CUIs."""
    path = _scratch() / "cuis.csv"
    path.write_bytes(content)
    with suppress(NBClipError):
        found = read_companion(path)
        assert all(found.cuis)
        assert all(isinstance(cui, str) for cuis in found.cuis.values() for cui in cuis)
        assert all(row.problem for row in found.bad)


def matrix(content: bytes) -> None:
    """A body of targets: what is decoded has the shapes that are promised, and is encoded and decoded to the same."""
    for body in (content, _framed(content)):
        with suppress(InvalidInput):
            found = decode(body)
            assert found.values.ndim == 2
            assert found.has_knowledge.shape == found.unknown.shape == found.values.shape[1:]
            assert _is_text(found.metadata)
            again = decode(encode(found))
            assert again.values.tobytes() == found.values.tobytes()
            assert again.metadata == found.metadata


def vectors(content: bytes) -> None:
    """A body of representations, likewise."""
    for body in (content, _framed(content)):
        with suppress(InvalidInput):
            found = decode_vectors(body)
            assert found.indices.shape == found.data.shape == (found.indptr[-1],)
            assert found.dense.shape[:1] == found.has_knowledge.shape == found.unknown.shape == (len(found),)
            assert found.dense.ndim == 2
            assert _is_text(found.metadata)
            again = decode_vectors(bytes(encode_vectors(found)))
            assert again.indices.tobytes() == found.indices.tobytes()
            assert again.columns == found.columns


def linker(content: bytes) -> None:
    """A caption is linked, with assertions; mentions lie within it, in order, and their text is what stands there."""
    caption = content.decode(errors="replace")[:_MAX_CAPTION]
    (linked,) = _linker().link([caption])
    assert linked.caption == caption
    spans = [(each.start, -each.end, each.cui) for each in linked.mentions]
    assert spans == sorted(spans)
    for mention in linked.mentions:
        assert 0 <= mention.start < mention.end <= len(caption)
        assert mention.text == caption[mention.start : mention.end]
        assert 0 <= mention.score <= 1


TARGETS: Mapping[str, Target] = {
    each.__name__: each
    for each in (rrf, release, archive, table, roco, ndjson, gzipped, parquet, shard, companion, matrix, vectors, linker)
}


def _build(release: Path) -> None:
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder, suppress(NBClipError):
        report = build_vocabulary(release, Path(folder) / "vocabulary")
        assert len(open_vocabulary(Path(folder) / "vocabulary")) == report.concepts > 0
        assert report.bad_row_count >= len(report.bad_rows)


def _read(name: str, content: bytes) -> None:
    """As the trainer reads it, and as the service ingests it."""
    path = _scratch() / name
    path.write_bytes(content)
    with suppress(NBClipError):
        for row in Rows([path], _AS_TRAINED):
            assert row.number > 0
            assert all(value is None or isinstance(value, str | list) for value in row.values.values())
    for options in (ReadOptions(), ReadOptions(bulk=True)):
        with suppress(NBClipError):
            for item in read_items(Rows([path], options.layout()), options):
                assert isinstance(item, Row | BadRow)
                assert item.line > 0


def _framed(content: bytes) -> bytes:
    """A safetensors body of a header and, after a line break, data: a fuzzer does not keep the header's length right."""
    header, _, data = content.partition(b"\n")
    return len(header).to_bytes(8, "little") + header + data


def _lines(content: bytes) -> list[bytes]:
    lines = content.removeprefix(BOM_UTF8).replace(b"\r\n", b"\n").split(b"\n")
    return [*lines[:-1], *([lines[-1].removesuffix(b"\r")] if lines[-1] else [])]


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_text(metadata: Mapping[str, str]) -> bool:
    return all(isinstance(part, str) for pair in metadata.items() for part in pair)


@cache
def _scratch() -> Path:
    shared = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(prefix="nbclip-fuzz-", dir=shared if shared.is_dir() else None)
    _kept.append(folder)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


@cache
def _linker() -> Linker:
    folder = _scratch() / "vocabulary"
    build_vocabulary(VOCABULARY, folder)
    return build_linker("dictionary", open_vocabulary(folder))
