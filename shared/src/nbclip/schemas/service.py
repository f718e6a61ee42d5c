"""What the service says of itself, and how it refuses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nbclip.schemas.base import Answer

Ability = Literal["ingest", "link", "targets"]


class Entrance(Answer):
    """`GET /`: the routes, and where the documentation is."""

    name: str
    version: str
    api: str = Field(description="the newest version of the API, with which its paths begin")
    links: dict[str, str] = Field(description="documentation, page and probes, which have no version")
    routes: dict[str, str] = Field(description="method and path of each route, and what it does")


class Info(Answer):
    name: str
    version: str
    api: str = Field("", description="the newest version of the API, with which its paths begin; empty in answers of 0.1.0")
    vocabulary: dict[str, str]
    store: str
    linker: str
    snapshot: str | None
    limits: dict[str, int]
    counts: dict[str, int]
    thumbnails: bool = Field(False, description="whether the service has a folder of images (`KG_IMAGES`)")


class Live(Answer):
    """`GET /livez`."""

    status: str


class AbilityOut(Answer):
    """Whether one kind of work can be done now."""

    ready: bool
    reason: str = Field("", description="why not")
    hint: str = Field("", description="what to do")


class Readiness(Answer):
    """`GET /readyz`: which work the service can take."""

    status: str
    can: dict[str, AbilityOut] = Field(
        {}, description="`ingest` (captions, by `POST /v1/images` or in bulk), `link` and `targets`; later versions may have more"
    )
    degraded: str | None = Field(None, description="says that the current snapshot is damaged and an earlier one is served")
    unverified_bytes: int = Field(
        0, description="how many bytes of served snapshots are still to be verified in the background; left out if none are"
    )


class ProblemItem(Answer):
    where: str
    message: str


class Problem(Answer):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    hint: str = ""
    request_id: str = ""
    errors: list[ProblemItem] = Field([])


class NotReadyProblem(Problem):
    """What `GET /readyz` answers with 503."""

    can: dict[str, AbilityOut] = Field({}, description="as in the answer 200: what can be done now, and why the rest can't")
