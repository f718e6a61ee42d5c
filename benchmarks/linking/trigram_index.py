"""What the 3-gram index takes and finds: `.venv-scispacy/bin/python benchmarks/linking/trigram_index.py [--scale S]`.

Mentions are the labelled spans of BC5CDR and MedMentions, as a recogniser without a fault would give them. With `--scale` the
index is that of a synthetic release (`benchmarks/vocabulary/release.py`), and only its cost is measured.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from corpora import Document, bc5cdr, medmentions, vocabulary
from kg_service.linking.fitting.scoring import within
from kg_service.linking.scispacy.cosines import Found, nearest
from kg_service.linking.scispacy.knowledge import ExactGenerator, build_candidate_generator
from kg_service.linking.scispacy.linker import ScispacyLinker, ScispacySettings
from kg_service.linking.scispacy.trigrams import build_trigram_index
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import Vocabulary, open_vocabulary
from peers.worker import peak_mb
from runner import CACHE, REPOSITORY
from scipy import sparse

_WRITE_RELEASE = REPOSITORY / "benchmarks" / "vocabulary" / "release.py"
_K = 30
_FLOORS = (0.9, 0.75, 0.5, 0.0)
_THRESHOLDS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--scale", type=float, help="measure the cost with a synthetic release; 1: eight million names")
    parser.add_argument("--mentions", type=int, default=500)
    parser.add_argument("--build", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build:
        _build(*map(Path, arguments.build))
        return
    known = vocabulary("A") if arguments.scale is None else _synthetic(arguments.scale)
    with TemporaryDirectory() as out:
        subprocess.run([sys.executable, __file__, "--build", known.directory, f"{out}/index"], check=True)
    generator, texts = build_candidate_generator(known), _mentions(arguments.mentions)
    queries = sparse.csr_array(generator.vectorizer.transform(texts))
    found = _speed(generator.weights_FA, queries)
    _compare_with_all_products(generator.weights_FA, queries, found)
    if arguments.scale is None:
        _accuracy(known)


def _synthetic(scale: float) -> Vocabulary:
    rrf, folder = CACHE / f"synthetic-{scale:g}.rrf", CACHE / f"synthetic-{scale:g}" / "vocabulary"
    if not (folder / "manifest.json").is_file():
        subprocess.run([sys.executable, _WRITE_RELEASE, rrf, "--scale", str(scale)], check=True)
        build_vocabulary(rrf, folder)
        shutil.rmtree(rrf)
    return open_vocabulary(folder)


def _build(source: Path, out: Path) -> None:
    """In its own process: memory peaks per process."""
    known, start = open_vocabulary(source), time.process_time()
    aliases = build_trigram_index(known, out)
    size = sum(file.stat().st_size for file in out.iterdir()) / 2**20
    spent = f"{time.process_time() - start:.0f} CPU s, peak {peak_mb():.0f} MB, {size:.0f} MB on disk"
    print(f"{known.name_count} names, {aliases} aliases: {spent}", flush=True)


def _mentions(count: int) -> list[str]:
    documents = [*bc5cdr("dev"), *medmentions(2136, 2635)]
    texts = sorted({document.text[start:end] for document in documents for start, end, _ in document.spans})
    return random.Random(42).sample(texts, count)


def _speed(weights_FA: sparse.csr_array, queries: sparse.csr_array) -> list[Found]:
    """Prints mentions a CPU second at every floor; returns what the lowest finds."""
    for floor in _FLOORS:
        start = time.process_time()
        found = nearest(weights_FA, queries, _K, floor)
        print(f"floor {floor}: {queries.shape[0] / (time.process_time() - start):.0f} mentions a CPU s", flush=True)
    return found


def _compare_with_all_products(weights_FA: sparse.csr_array, queries: sparse.csr_array, found: Sequence[Found]) -> None:
    weights_AF, worst = weights_FA.T.tocsr(), 0.0
    start = time.process_time()
    for row, (aliases, cosines) in enumerate(found):
        every = (weights_AF @ queries[[row]].T).toarray().ravel()
        best = np.sort(every[every > 0])[::-1][:_K]
        if len(best) != len(cosines):
            raise SystemExit(f"mention {row}: {len(cosines)} neighbours, of {len(best)}")
        worst = max([worst, *np.abs(best - cosines), *np.abs(every[aliases] - cosines)])
    speed = len(found) / (time.process_time() - start)
    print(f"all products: {speed:.0f} mentions a CPU s; the {_K} nearest differ by {worst:.1e} at most", flush=True)


def _accuracy(known: Vocabulary) -> None:
    """Labelled spans with a concept of the vocabulary: how many get one, and how often it is right."""
    for corpus, documents in (
        ("BC5CDR train", bc5cdr("train")),
        ("BC5CDR dev", bc5cdr("dev")),
        ("MedMentions", medmentions(2136, 2635)),
    ):
        spans = _spans(within(documents, known))
        texts = sorted({text for text, _ in spans})
        linker = ScispacyLinker(known, ScispacySettings(min_score=_THRESHOLDS[0]))
        generator = build_candidate_generator(known, _THRESHOLDS[0])
        ranked = _ranked(linker, generator, texts)
        for threshold in _THRESHOLDS:
            linked = [(ranked[text][0] in cuis) for text, cuis in spans if text in ranked and ranked[text][1] >= threshold]
            precision, recall = sum(linked) / max(len(linked), 1), sum(linked) / len(spans)
            f1 = 2 * precision * recall / max(precision + recall, 1e-9)
            print(
                f"{corpus}, score {threshold}: precision {100 * precision:.1f} recall {100 * recall:.1f} F1 {100 * f1:.1f}",
                flush=True,
            )


def _spans(documents: Sequence[Document]) -> list[tuple[str, frozenset[str]]]:
    return [(each.text[start:end], cuis) for each in documents for start, end, cuis in each.spans if cuis]


def _ranked(linker: ScispacyLinker, generator: ExactGenerator, texts: list[str]) -> dict[str, tuple[str, float]]:
    found = ((text, linker._ranked(text, candidates)[1]) for text, candidates in zip(texts, generator(texts, _K), strict=True))
    return {text: (best[0].cui, best[0].score) for text, best in found if best}


if __name__ == "__main__":
    main()
