"""How mappings are laid over one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, mapping by mapping; another loss inherits no parameters."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict) and not (key == "loss" and _another(below, value)):
            merged[key] = laid_over(below, value)
        else:
            merged[key] = value
    return merged


def _another(below: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    return "name" in below and over.get("name", below["name"]) != below["name"]
