"""Scores this repository's dictionary linker: `python benchmarks/linking/ours.py [choose|report|ablate|curve]`.

`choose` and `report` score the texts that settings are chosen and reported on, at the default settings and at the best of them;
`ablate` takes one kind of spelling variant away at a time; `curve` goes through thresholds and semantic groups.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ablation import ablate
from corpora import Document, VocabularyName, bc5cdr, medmentions, roco, vocabulary
from curve import draw
from kg_service.linking.dictionary.linker import open_dictionary_linker
from kg_service.linking.dictionary.prior import save_prior
from kg_service.linking.dictionary.settings import DictionarySettings
from kg_service.linking.fitting.learning import learn
from kg_service.linking.fitting.scoring import hits_of, score_documents, score_spans, within
from kg_service.linking.settings import Nested
from kg_service.vocabulary.semantic_groups import group_types

DISORDERS = group_types()["DISO"]
PARTS = {
    "choose": {"bc5cdr": lambda: bc5cdr("train"), "roco": lambda: roco(4001, 8180), "medmentions": lambda: medmentions(1, 2135)},
    "report": {"bc5cdr": lambda: bc5cdr("dev"), "roco": lambda: roco(1, 4000), "medmentions": lambda: medmentions(2136, 2635)},
}


BEST: dict[str, Nested] = {"bc5cdr": "none", "medmentions": "none", "roco": "all"}
"""BC5CDR and MedMentions label the longest name alone, ROCO parts of it too."""


def run(corpus: str, documents: Sequence[Document], name: VocabularyName, prior: str = "") -> None:
    """Prints scores: documents with the concepts that the vocabulary has, and with all; default settings and the best."""
    known = within(documents, vocabulary(name))
    for nested in dict.fromkeys((DictionarySettings().nested, BEST[corpus])):
        types, folder = DISORDERS if corpus == "bc5cdr" else (), Path(prior) if prior else None
        types, folder = DISORDERS if corpus == "bc5cdr" else (), Path(prior) if prior else None
        settings = DictionarySettings(semantic_types=types, nested=nested, prior=folder)
        linker = open_dictionary_linker(vocabulary(name), settings)
        start = time.process_time()
        hits = [hits_of(linked) for linked in linker.link([document.text for document in documents])]
        speed = len(documents) / (time.process_time() - start)
        for label, gold in (("in the vocabulary", known), ("all gold", documents)):
            spans = f"spans {score_spans(gold, hits)}   " if corpus != "roco" else ""
            said = f"{corpus:12} {name} {'prior' if prior else '     '}  nested {nested:8}  {label:17}"
            print(f"{said}  {spans}documents {score_documents(gold, hits)}   {speed:.0f} a CPU s", flush=True)


def fitted(corpus: str, name: VocabularyName, folder: str) -> str:
    """A prior fitted on what may be learned from, saved."""
    documents = within(PARTS["choose"][corpus](), vocabulary(name))
    linker = open_dictionary_linker(vocabulary(name))
    path = Path(folder) / f"{corpus}-{name}"
    save_prior(learn(documents, linker), path, vocabulary(name), linker=linker.name, captions=len(documents))
    return str(path)


def score_part(part: str, folder: str) -> None:
    for corpus, load in PARTS[part].items():
        documents = load()
        for name in ("A", "B") if corpus != "bc5cdr" else ("A",):
            run(corpus, documents, name)
            if part == "report":
                run(corpus, documents, name, fitted(corpus, name, folder))


if __name__ == "__main__":
    command = sys.argv[1] if len(sys.argv) > 1 else "choose"
    with TemporaryDirectory() as folder:
        match command:
            case "ablate":
                ablate()
            case "curve":
                draw(
                    {corpus: load() for corpus, load in PARTS["report"].items()},
                    lambda corpus, name: fitted(corpus, name, folder),
                )
            case _:
                score_part(command, folder)
