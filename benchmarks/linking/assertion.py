"""How well a caption's negation and doubt are read: precision, recall and F1 on `tests/fixtures/assertion`.

    uv run python benchmarks/linking/assertion.py ours
    uv run --no-project --python 3.11 --with negspacy==1.1.0 python benchmarks/linking/assertion.py negspacy
    uv run --no-project --python 3.11 --with medspacy==1.3.1 --with "numpy<2" python benchmarks/linking/assertion.py context

Scored apart are ROCO's sentences, real and made-up sentences of the kinds that reports have, and real and made-up French ones,
which only `ours` reads.
The labelled spans are given; a reader says what holds of each. negspacy (NegEx, its `en_clinical` terms) knows no doubt;
medspaCy's ConText, with its own rules, does. Both run on spaCy's blank English pipeline with a rule for sentence ends.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Span = tuple[int, int]
Read = Callable[[str, Sequence[Span]], Sequence[str]]

LABELLED = Path(__file__).parents[2] / "tests/fixtures/assertion"
LABELS = ("present", "absent", "uncertain", "family", "history")


def read_sets(half: str) -> dict[str, list[dict[str, Any]]]:
    """The sets of one half, `choose` or `report`."""
    kinds, french = _read("kinds.jsonl", half), _read("french.jsonl", half)
    return {
        "captions": _read("captions.jsonl", half),
        "kinds, real": [row for row in kinds if not row.get("made_up")],
        "kinds, made up": [row for row in kinds if row.get("made_up")],
        "reports, made up": _read("reports.jsonl", half),
        "French, real": [row for row in french if not row.get("made_up")],
        "French, made up": [row for row in french if row.get("made_up")],
    }


def _read(file: str, half: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (LABELLED / file).read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if half == half_of(row["id"])]


def half_of(sentence: str) -> str:
    """The half that a sentence's image falls into."""
    image = sentence.split("-")[0]
    return "report" if hashlib.sha256(image.encode()).digest()[0] % 2 else "choose"


def count(rows: Sequence[dict[str, Any]], read: Read) -> Counter[tuple[str, str]]:
    """How often each pair of label and answer occurs."""
    pairs: Counter[tuple[str, str]] = Counter()
    for row in rows:
        answers = read(row["text"], [(start, end) for start, end, _ in row["spans"]])
        pairs.update(zip((label for _, _, label in row["spans"]), answers, strict=True))
    return pairs


def score(pairs: Counter[tuple[str, str]], labels: Sequence[str]) -> tuple[float, float, float]:
    """Precision, recall and F1 (percent), micro-averaged over some labels."""
    right = sum(pairs[label, label] for label in labels)
    answered = sum(n for (_, answer), n in pairs.items() if answer in labels)
    labelled = sum(n for (label, _), n in pairs.items() if label in labels)
    return 100 * right / max(answered, 1), 100 * right / max(labelled, 1), 200 * right / max(answered + labelled, 1)


def ours() -> Read:
    """The product's rules, as with a vocabulary of English and French names."""
    from functools import partial

    from kg_service.linking.assertion import assess

    return partial(assess, languages=("ENG", "FRE"))


def negspacy() -> Read:
    """NegEx, as negspacy has it."""
    import spacy
    from negspacy.negation import Negex  # noqa: F401, registers the component

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    negex = spacy.blank("en").create_pipe("negex", config={"neg_termset": _termset()})
    return _over_spacy(pipeline, negex, lambda span: "absent" if span._.negex else "present")


def _termset() -> dict[str, list[str]]:
    from negspacy.termsets import termset

    return termset("en_clinical").get_patterns()  # type: ignore[no-any-return]


def context() -> Read:
    """ConText, as medspaCy has it."""
    import medspacy  # noqa: F401, registers the component
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    rules = spacy.blank("en").create_pipe("medspacy_context")
    return _over_spacy(
        pipeline,
        rules,
        lambda span: (
            "absent" if span._.is_negated else "uncertain" if span._.is_uncertain or span._.is_hypothetical else "present"
        ),
    )


def _over_spacy(pipeline: Any, component: Any, answer: Callable[[Any], str]) -> Read:
    def read(text: str, spans: Sequence[Span]) -> list[str]:
        document = pipeline(text)
        document.ents = [document.char_span(*span, label="X", alignment_mode="expand") for span in spans]
        return [answer(span) for span in component(document).ents]

    return read


def main() -> None:
    """Prints a table for each half."""
    read: Read = {"ours": ours, "negspacy": negspacy, "context": context}[sys.argv[1]]()
    for half in ("choose", "report"):
        for name, rows in read_sets(half).items():
            _show(f"{sys.argv[1]}, {name}, {half}", rows, read)


def _show(title: str, rows: Sequence[dict[str, Any]], read: Read) -> None:
    read("no mass", [(3, 7)])
    before = time.process_time()
    pairs = count(rows, read)
    cost = (time.process_time() - before) / len(rows)
    print(f"{title}: {len(rows)} texts, {1e6 * cost:.0f} us each")
    for label in LABELS:
        if any(label in pair for pair in pairs):
            print(f"  {label:22}" + "P {:5.1f}  R {:5.1f}  F1 {:5.1f}".format(*score(pairs, [label])))
    print("  all but present       P {:5.1f}  R {:5.1f}  F1 {:5.1f} micro".format(*score(pairs, LABELS[1:])))


if __name__ == "__main__":
    main()
