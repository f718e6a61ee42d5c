"""The compiled index from character 3-grams to names: scispacy's TF-IDF vectors, float32, as an inverted index.

The vectors are those that scispacy makes of its knowledge bases: 3-grams within words, lower case, those of at least 10 names,
smooth IDF, length 1. An alias is a distinct name, in the order in which the vocabulary has them first.

    grams          uint32 [3F]      the 3-grams' characters, ascending
    idf            float32 [F]
    row_starts     int32 [F + 1]    row pointers into `aliases` and `weights`
    aliases        int32 [P]        aliases with the 3-gram, ascending in each row
    weights        float32 [P]      TF-IDF over the length of the alias's vector
    alias_starts   int32 [A + 1]    row pointers into `alias_names`
    alias_names    int32 [M]        positions of the names that are the alias, ascending
    hashes         uint64 [A]       64 bits of each alias's BLAKE2b, ascending
    hash_aliases   int32 [A]        the alias of each hash

Two names whose 64 bits are equal would be taken for one: at 10 million names that is a chance of three in a million.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nbclip.errors import BrokenArtefact, InvalidInput, NotFound
from scipy import sparse

from kg_service.errors import MissingExtra
from kg_service.storage.arrays import save_arrays
from kg_service.storage.artefact import open_index, write_manifest, writing_artefact
from kg_service.storage.csr import pointers, ranges
from kg_service.storage.scratch import new_folder
from kg_service.vocabulary.vocabulary import Vocabulary

KIND, FORMAT = "trigram-index", 1
_BATCH = 1 << 16
_MIN_NAMES = 10
_SMALL_VOCABULARY = 10_000
_MAX_POSTINGS = np.iinfo(np.int32).max
_HINT = "remove it: it is built again when the scispacy linker is opened"


@dataclass(frozen=True, slots=True)
class TrigramIndex:
    """The arrays above, memory-mapped."""

    grams: npt.NDArray[np.uint32]
    idf: npt.NDArray[np.float32]
    row_starts: npt.NDArray[np.int32]
    aliases: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    alias_starts: npt.NDArray[np.int32]
    alias_names: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]
    hash_aliases: npt.NDArray[np.int32]

    def __len__(self) -> int:
        """A: distinct names."""
        return len(self.hashes)

    @property
    def weights_FA(self) -> sparse.csr_array:  # noqa: N802
        """The inverted index as a matrix over the mapped arrays, float32 CSR, [F, A]."""
        rows = (self.weights, self.aliases, self.row_starts)
        return sparse.csr_array(rows, shape=(len(self.idf), len(self)), copy=False)

    def names_of(self, alias: int) -> list[int]:
        """Positions in the vocabulary of the names that are the alias, ascending."""
        start, stop = self.alias_starts[alias : alias + 2]
        return list(self.alias_names[start:stop].tolist())

    def find(self, text: str) -> int | None:
        """The alias with the hash of `text`; its text is the caller's to compare."""
        wanted = np.uint64(_hash(text))
        position = int(np.searchsorted(self.hashes, wanted))
        found = position < len(self) and self.hashes[position] == wanted
        return int(self.hash_aliases[position]) if found else None

    def vectorizer(self) -> Any:
        """A `TfidfVectorizer` that makes vectors of texts as those of the names were made."""
        text = self.grams.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        vectorizer = _sklearn_text().TfidfVectorizer(
            **_ANALYSIS, dtype=np.float32, vocabulary=[text[start : start + 3] for start in range(0, len(text), 3)]
        )
        vectorizer.idf_ = np.array(self.idf)
        return vectorizer


_ANALYSIS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (3, 3)}


def trigram_folder(vocabulary_dir: Path) -> Path:
    """Where the 3-gram index of a vocabulary lies: `<vocabulary>.trigrams`, beside it."""
    return vocabulary_dir.with_name(f"{vocabulary_dir.name}.trigrams")


def ensure_trigram_index(vocabulary: Vocabulary) -> TrigramIndex:
    """The index beside the vocabulary; compiled first if it is not there yet, or was made from another vocabulary."""
    folder = trigram_folder(vocabulary.directory)
    try:
        return open_trigram_index(folder, vocabulary)
    except (NotFound, BrokenArtefact):
        build_trigram_index(vocabulary, folder)
        return open_trigram_index(folder, vocabulary)


def open_trigram_index(directory: Path, vocabulary: Vocabulary) -> TrigramIndex:
    """Maps the index in `directory` into memory.

    Raises:
        NotFound: there is none.
        BrokenArtefact: it is damaged, or made from another vocabulary.
    """
    index = open_index(directory, KIND, FORMAT, vocabulary.sha256, hint=_HINT)
    return TrigramIndex(*(index.array(field.name) for field in fields(TrigramIndex)))


def build_trigram_index(vocabulary: Vocabulary, directory: Path) -> int:
    """Compiles the index of all names of `vocabulary` into `directory`; returns how many aliases it holds.

    3-grams of fewer than 10 names are left out, as scispacy does; in a vocabulary below 10,000 names none are.

    Raises:
        InvalidInput: there are no 3-grams or more than 2^31 postings, or `directory` can't be written.
        MissingExtra: scikit-learn, which scispacy brings, is not installed.
    """
    names = _aliases(vocabulary)
    min_names = _MIN_NAMES if len(names["hashes"]) >= _SMALL_VOCABULARY else 1
    with writing_artefact(directory) as folder, new_folder(directory.parent) as spool:
        grams, used = _count_grams(vocabulary, names["alias_names"][names["alias_starts"][:-1]], spool)
        kept = sorted(gram for gram, number in grams.items() if used[number] >= min_names)
        if not kept:
            raise InvalidInput(
                f"the vocabulary in {vocabulary.directory} has no names to search", hint="build one with wider filters"
            )
        numbers = np.array([grams[gram] for gram in kept], np.int64)
        count = len(names["hashes"])
        idf = (np.log((1 + count) / (1 + used[numbers])) + 1).astype(np.float32)
        renumbered = np.full(len(grams), -1, np.int32)
        renumbered[numbers] = np.arange(len(kept))
        _write_postings(folder, spool, renumbered, idf, used[numbers])
        characters = np.frombuffer("".join(kept).encode("utf-32-le", "surrogatepass"), "<u4")
        save_arrays(folder, {**names, "grams": characters.astype(np.uint32), "idf": idf})
        counts = {"aliases": count, "grams": len(kept), "postings": int(used[numbers].sum())}
        write_manifest(folder, {"kind": KIND, "format": FORMAT, "vocabulary": vocabulary.sha256, "counts": counts})
    return count


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _batches(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _BATCH, count)) for start in range(0, count, _BATCH))


def _aliases(vocabulary: Vocabulary) -> dict[str, npt.NDArray[Any]]:
    """The distinct names: the last four arrays of the index."""
    texts = (text for batch in _batches(vocabulary.name_count) for text in vocabulary.name_texts(*batch))
    hash_of_name = np.fromiter(map(_hash, texts), np.uint64, vocabulary.name_count)
    hashes, first, of_name = np.unique(hash_of_name, return_index=True, return_inverse=True)
    alias_of_hash = np.empty(len(hashes), np.int32)
    alias_of_hash[np.argsort(first)] = np.arange(len(hashes), dtype=np.int32)
    alias_of_name = alias_of_hash[of_name]
    starts = pointers(np.bincount(alias_of_name, minlength=len(hashes)))
    return {
        "alias_starts": starts.astype(np.int32),
        "alias_names": np.argsort(alias_of_name, kind="stable").astype(np.int32),
        "hashes": hashes,
        "hash_aliases": alias_of_hash,
    }


def _count_grams(
    vocabulary: Vocabulary, first_names: npt.NDArray[np.int32], spool: Path
) -> tuple[dict[str, int], npt.NDArray[np.int64]]:
    """Number of each 3-gram, and how many aliases have it; the aliases' counts go to `spool`, a matrix a batch."""
    numbers: dict[str, int] = {}
    used: npt.NDArray[np.int64] = np.zeros(0, np.int64)
    for start, stop in _batches(len(first_names)):
        counts, grams = _counts([vocabulary.name_text(int(name)) for name in first_names[start:stop]])
        number = np.array([numbers.setdefault(gram, len(numbers)) for gram in grams], np.int32)
        rows = (counts.data, number[counts.indices], counts.indptr)
        counts = sparse.csr_array(rows, (stop - start, len(numbers)))
        grown = np.bincount(counts.indices, minlength=len(numbers))
        grown[: len(used)] += used
        used = grown
        sparse.save_npz(spool / f"{start:012d}.npz", counts, compressed=False)
    return numbers, used


def _counts(texts: list[str]) -> tuple[sparse.csr_array, list[str]]:
    """How often each text has each 3-gram, float32 CSR, and the 3-grams."""
    vectorizer = _sklearn_text().CountVectorizer(**_ANALYSIS, dtype=np.float32)
    if not any(map(vectorizer.build_analyzer(), texts)):  # scikit-learn refuses texts without any
        return sparse.csr_array((len(texts), 0), dtype=np.float32), []
    return sparse.csr_array(vectorizer.fit_transform(texts)), list(vectorizer.get_feature_names_out())


def _write_postings(
    folder: Path, spool: Path, renumbered: npt.NDArray[np.int32], idf: npt.NDArray[np.float32], used: npt.NDArray[np.int64]
) -> None:
    """Turns the batches of counts into rows of weights: each batch goes behind the earlier ones in every row."""
    starts = pointers(used)
    if starts[-1] > _MAX_POSTINGS:
        raise InvalidInput(f"{starts[-1]:,} 3-grams are too many for one index", hint="narrow the vocabulary, or use dictionary")
    save_arrays(folder, {"row_starts": starts.astype(np.int32)})
    aliases = np.lib.format.open_memmap(folder / "aliases.npy", "w+", np.int32, (int(starts[-1]),))
    weights = np.lib.format.open_memmap(folder / "weights.npy", "w+", np.float32, (int(starts[-1]),))
    filled = starts[:-1].copy()
    for path in sorted(spool.iterdir()):
        rows = _weights(sparse.load_npz(path), renumbered, idf).tocsc()
        in_row = np.diff(rows.indptr)
        target = ranges(filled, in_row)
        aliases[target], weights[target] = rows.indices + int(path.stem), rows.data
        filled += in_row
    aliases.flush()
    weights.flush()


def _weights(counts: sparse.csr_array, renumbered: npt.NDArray[np.int32], idf: npt.NDArray[np.float32]) -> sparse.csr_array:
    """TF-IDF vectors of length 1 of a batch of counts, without the 3-grams that are left out."""
    gram = renumbered[counts.indices]
    kept = gram >= 0
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))[kept]
    gram, data = gram[kept], counts.data[kept]
    data = data * idf[gram]
    length = np.sqrt(np.bincount(row, data.astype(np.float64) ** 2, minlength=counts.shape[0]))
    return sparse.coo_array(((data / length[row]).astype(np.float32), (row, gram)), (counts.shape[0], len(idf)))


def _sklearn_text() -> Any:
    try:
        from sklearn.feature_extraction import text
    except ImportError as error:
        raise MissingExtra("scispacy", "the scispacy linker") from error
    return text
