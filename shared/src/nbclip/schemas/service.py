"""What the service says of itself, and how it refuses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nbclip.schemas.base import Answer

Ability = Literal["ingest", "link", "targets"]


class Entrance(Answer):
    """`GET /`: where everything is."""

    name: str
    version: str
    api: str = Field(description="the newest version of the API, which its paths begin with")
    links: dict[str, str] = Field(description="what has no version: documentation, page, probes")
    routes: dict[str, str] = Field(description="method and path of each route, and what it does")


class Info(Answer):
    name: str
    version: str
    api: str = Field("", description="the newest version of the API, which its paths begin with; empty before there were any")
    vocabulary: dict[str, str]
    store: str
    linker: str
    snapshot: str | None
    limits: dict[str, int]
    counts: dict[str, int]


class Live(Answer):
    """`GET /livez`."""

    status: str


class AbilityOut(Answer):
    """Whether one kind of work can be done now."""

    ready: bool
    reason: str = Field("", description="why not")
    hint: str = Field("", description="the way out")


class Readiness(Answer):
    """`GET /readyz`: it can take work, and which."""

    status: str
    can: dict[str, AbilityOut] = Field(
        {}, description="`ingest` (captions, by `/images` and as bulk), `link` and `targets`; later versions may have more"
    )
    degraded: str | None = Field(None, description="the current snapshot is damaged, and a former one is served")


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
