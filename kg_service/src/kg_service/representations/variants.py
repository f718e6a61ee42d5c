"""Which representations a snapshot holds: the knowledge variants of one graph."""

from __future__ import annotations

from dataclasses import replace

from nbclip_shared.schemas import Knowledge

from kg_service.representations.hybrid import Hybrid
from kg_service.representations.model import Representation
from kg_service.representations.noise import Noise

Variant = tuple[str, Knowledge]
"""Representation and knowledge, such as `("hybrid", "dk_ek")`."""


def standard_variants(hybrid: Hybrid, noise: Noise) -> dict[Variant, Representation]:
    """`dk` has the attributes only, `dk_ek` the ontology's ancestors too, `noise` neither."""
    return {
        ("hybrid", "dk"): replace(hybrid, ancestors=False),
        ("hybrid", "dk_ek"): replace(hybrid, ancestors=True),
        ("noise", "noise"): noise,
    }
