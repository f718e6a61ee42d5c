"""The plain baseline: the longest name at each place, ignoring case, by Aho and Corasick (pyahocorasick).

A name that several concepts share goes to one that prefers it, then to the lowest CUI.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import ahocorasick

from peers.worker import Link, Mention, main, read_names, read_types

_SHORTEST = 3


def build(rrf: Path, texts: Path, index: Path) -> None:
    """An automaton over the folded names of three characters and more."""
    concepts: dict[str, set[tuple[bool, str]]] = {}
    for cui, name, preferred in read_names(rrf):
        if len(name) >= _SHORTEST:
            concepts.setdefault(fold(name), set()).add((not preferred, cui))
    automaton = ahocorasick.Automaton()
    for name, ranked in concepts.items():
        automaton.add_word(name, (len(name), tuple(cui for _, cui in sorted(ranked))))
    automaton.make_automaton()
    automaton.save(str(index / "names.automaton"), pickle.dumps)
    (index / "types.json").write_text(json.dumps(read_types(rrf)))


def load(index: Path, settings: dict[str, Any]) -> Link:
    """Has no settings of its own."""
    automaton = ahocorasick.load(str(index / "names.automaton"), pickle.loads)
    wanted = set(settings["semantic_types"])
    types = json.loads((index / "types.json").read_text()) if wanted else {}
    left_out = {cui for cui, tuis in types.items() if wanted.isdisjoint(tuis)}
    return lambda texts: [_link(automaton, left_out, text) for text in texts]


def _link(automaton: Any, left_out: set[str], text: str) -> list[Mention]:
    folded = fold(text)
    hits = [(end - size + 1, end + 1, cuis) for end, (size, cuis) in automaton.iter(folded)]
    mentions: list[Mention] = []
    reached = 0
    for start, end, cuis in sorted(hits, key=lambda hit: (hit[0], -hit[1])):
        if start >= reached and not _is_inside_word(folded, start) and not _is_inside_word(folded, end):
            cui = next((cui for cui in cuis if cui not in left_out), None)
            if cui:
                mentions.append((start, end, cui, 1.0))
                reached = end
    return mentions


def _is_inside_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


def fold(text: str) -> str:
    """Lower case, letter by letter, so that offsets stay."""
    folded = text.lower()
    return folded if len(folded) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


if __name__ == "__main__":
    main(build, load)
