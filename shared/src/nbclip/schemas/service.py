"""What the service says of itself, and how it refuses."""

from __future__ import annotations

from pydantic import BaseModel

from nbclip.schemas.base import Strict


class Info(Strict):
    name: str
    version: str
    vocabulary: dict[str, str]
    store: str
    linker: str
    snapshot: str | None
    limits: dict[str, int]
    counts: dict[str, int]


class ProblemItem(BaseModel):
    where: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    hint: str = ""
    request_id: str = ""
    errors: list[ProblemItem] = []
