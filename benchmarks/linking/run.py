"""Runs this repository's linker and its peers on the same texts, vocabularies and scoring, and writes `docs/linking.md`.

    python benchmarks/linking/run.py [--only PEER ...] [--quick]

What a linker answered is kept in `~/.cache/nbclip-bench` and asked again when its code, its settings, the vocabulary or the
texts have changed. The report has every linker whose answers are all there, so `--only` leaves the others in it; linkers that
run the same code of this repository are asked together, and one whose answers are of older code is named.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from functools import cache

from corpora import Document
from kg_service.linking.fitting.scoring import Score
from report import Result, render, write_report
from runner import Answer, Peer, PeerFailed, Settings, ask, index_of, is_answered, say
from tasks import TASKS, Corpus, Part, Task, choosing_task, documents, score

_OURS = ("kg_service/src/kg_service/linking", "kg_service/src/kg_service/vocabulary")
PEERS = (
    Peer(
        "nbclip",
        "NB-CLIP",
        "nbclip-kg-service",
        tuple(
            {"min_score": score, "nested": nested}
            for nested in ("distinct", "none", "all")
            for score in (0.5, 0.7, 0.75, 0.85, 0.95)
        ),
        knob="min_score",
        sources=_OURS,
    ),
    Peer(
        "nbclip_fitted",
        "NB-CLIP, fitted to labels",
        "nbclip-kg-service",
        tuple({"min_score": score} for score in (0.75, 0.5, 0.85, 0.95)),
        knob="min_score",
        labelled=True,
        sources=_OURS,
    ),
    Peer("longest_match", "longest match", "pyahocorasick", ({},)),
    Peer("quickumls", "QuickUMLS", "quickumls", tuple({"threshold": t} for t in (0.6, 0.7, 0.8, 0.9, 1.0)), knob="threshold"),
    # Its threshold hardly tells: F1 on ROCO's choosing part is 27.2 to 27.3 from -1 to 0.8, and lower, at a third of the speed,
    # where names of a single concept are held to it too (`always`).
    Peer("medcat", "MedCAT", "medcat", ({"threshold": 0.25},)),
    Peer("mmlite", "mmlite", "mmlite", tuple({"precision_filter": on, "concepts": n} for on in (True, False) for n in (1, 9))),
    Peer(
        "scispacy",
        "scispacy, untrained",
        "scispacy",
        ({"min_score": 0.75},),
        sources=("kg_service/src/kg_service/linking/scispacy", "kg_service/src/kg_service/vocabulary"),
        beside=True,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[peer.name for peer in PEERS], default=[], help="ask these alone")
    parser.add_argument("--quick", action="store_true", help="100 texts of each part; prints, and leaves the page as it is")
    arguments = parser.parse_args()
    os.nice(10)
    for peer in asked(arguments.only):
        _ask_all(peer, arguments.quick)
    answered = [peer for peer in PEERS if _is_asked(peer, arguments.quick)]
    for peer in PEERS:
        if peer not in answered:
            say(f"{peer.title} is not in the report: its kept answers are of other code, texts or vocabularies; ask it again")
    results = {peer: {task: _result(peer, task, arguments.quick) for task in TASKS} for peer in answered}
    if arguments.quick:
        print(render(results))
    else:
        write_report(results)


def asked(only: Sequence[str]) -> list[Peer]:
    """The peers of these names, all if there are none, and those that run the same sources, which are as old as they."""
    sources = {peer.sources for peer in PEERS if peer.name in only and peer.sources}
    return [peer for peer in PEERS if not only or peer.name in only or peer.sources in sources]


def _ask_all(peer: Peer, quick: bool) -> None:
    try:
        for task, part, settings in _questions(peer):
            ask(peer, task, _texts(task.corpus, part, quick), settings)
    except PeerFailed as error:
        say(f"left out: {error}")


def _is_asked(peer: Peer, quick: bool) -> bool:
    return all(is_answered(peer, task, _texts(task.corpus, part, quick), settings) for task, part, settings in _questions(peer))


def _questions(peer: Peer) -> Iterator[tuple[Task, Part, Settings]]:
    """All settings on both parts; the choosing part only where something is chosen or, in ROCO, reported."""
    for task in TASKS:
        chooses = len(peer.settings) > 1 and choosing_task(task) == task
        both = not peer.labelled and (chooses or task.corpus == "roco")
        parts: tuple[Part, ...] = ("choose", "report") if both else ("report",)
        yield from ((task, part, settings) for part in parts for settings in peer.settings)


@cache
def _texts(corpus: Corpus, part: Part, quick: bool) -> list[Document]:
    return documents(corpus, part, quick)


def _result(peer: Peer, task: Task, quick: bool) -> Result:
    """The peer's figures for a task, with the settings that the choosing part speaks for."""
    chosen = _choose(peer, choosing_task(task), quick)
    texts = _texts(task.corpus, "report", quick)
    answers = [ask(peer, task, texts, settings) for settings in peer.settings]
    answer = answers[peer.settings.index(chosen)]
    return Result(
        settings=chosen,
        scores=score(task, texts, answer.hits) | _score_of_all(peer, task, chosen, quick),
        curve=[
            _main_score(task, texts, other)
            for settings, other in zip(peer.settings, answers, strict=True)
            if not peer.knob or {**settings, peer.knob: 0} == {**chosen, peer.knob: 0}
        ],
        hits=answer.hits,
        texts=texts,
        texts_per_s=len(texts) / answer.cpu_s,
        peak_mb=answer.peak_mb,
        index=index_of(peer, task),
    )


def _choose(peer: Peer, task: Task, quick: bool) -> Settings:
    """The settings with the best F1 on the choosing part; the first of equals."""
    if peer.labelled or len(peer.settings) == 1:
        return peer.settings[0]
    texts = _texts(task.corpus, "choose", quick)
    return max(peer.settings, key=lambda settings: _main_score(task, texts, ask(peer, task, texts, settings)).f1)


def _main_score(task: Task, texts: Sequence[Document], answer: Answer) -> Score:
    """What settings are chosen by: spans where there are any, else documents."""
    return next(iter(score(task, texts, answer.hits).values()))


def _score_of_all(peer: Peer, task: Task, settings: Settings, quick: bool) -> dict[str, Score]:
    """ROCO is also reported on all captions, for others report it so."""
    if task.corpus != "roco" or peer.labelled:
        return {}
    parts = [_texts(task.corpus, part, quick) for part in ("report", "choose")]
    hits = [found for texts in parts for found in ask(peer, task, texts, settings).hits]
    return {"all": score(task, [text for texts in parts for text in texts], hits)["document"]}


if __name__ == "__main__":
    main()
