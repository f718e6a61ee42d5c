"""What can be set of a linker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkerSettings:
    """Plain parameters of both linkers.

    Attributes:
        semantic_types: TUIs; only concepts with one of them are linked; empty: all.
        min_score: mentions below are left out, [0, 1].
        nested: keep mentions inside longer ones (chest in chest X-ray); without, the longest alone.
        max_candidates: how many losing concepts a mention keeps.
        prior: folder of a fitted prior (`prior.py`; dictionary only); empty: none.
        model: name or path of a spaCy pipeline that finds mentions (scispacy only); empty: a blank one.
    """

    semantic_types: tuple[str, ...] = ()
    min_score: float = 0.75
    nested: bool = True
    max_candidates: int = 5
    prior: str = ""
    model: str = ""
