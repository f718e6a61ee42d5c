"""Content negotiation: which form of an answer the client accepts (RFC 9110)."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from nbclip.codec import MEDIA_TYPE

from kg_service.api.problems import NotAcceptable

JSON = "application/json"


def safetensors_of(form: str) -> dict[str, Any]:
    """OpenAPI of a binary answer, with what the file holds."""
    return {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary", "description": f"A safetensors file: {form}"}}}


def text_of(media_type: str, form: str, example: str) -> dict[str, Any]:
    """OpenAPI of the answer 200 that is text, with how it begins."""
    content = {media_type: {"schema": {"type": "string", "description": form}, "example": example}}
    return {"description": form, "content": content}


@lru_cache(maxsize=64)
def choose(accept: str, offered: tuple[str, ...]) -> str:
    """The offered media type that `accept` prefers; the first of equals.

    Raises:
        NotAcceptable: it takes none of them.
    """
    ranges = [_range(part) for part in accept.split(",")]
    quality = {form: _quality(form, ranges) for form in offered}
    best = max(offered, key=lambda form: quality[form])
    if quality[best] <= 0:
        raise NotAcceptable(f"Accept {accept!r:.80}", hint=f"it is available as {' and '.join(offered)}")
    return best


def _range(part: str) -> tuple[str, float]:
    """A media range and its weight, 0 where that can't be read."""
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    try:
        return media_range, float(weight)
    except ValueError:
        return media_range, 0.0


def _quality(form: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The weight of the most exact range that covers the form."""
    covering = [(len(pattern.rstrip("*")), weight) for pattern, weight in ranges if fnmatchcase(form, pattern)]
    return max(covering, default=(0, 0.0))[1]
