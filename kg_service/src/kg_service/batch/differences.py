"""In what two plans differ, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nbclip.files.lines import Span
from nbclip.wording import counted

from kg_service.batch.plan import Plan, apart

_SHOWN = 3
_OPTIONS = {"columns": "column"}
"""Options of the command that are not called as the field that holds them."""


def differences(planned: Plan, now: Plan) -> list[str]:
    """Each difference of a plan from one that was there before: files, how they are cut, read and linked."""
    found = [*_other_files(planned, now), *_other_options(planned, now), *_other_linking(planned, now)]
    return found or ["it has another form"]


@dataclass(frozen=True, slots=True)
class _File:
    """The size of a planned file, and the rows and digests of its shards."""

    bytes: int
    spans: list[Span]
    digests: list[str]


def _other_files(planned: Plan, now: Plan) -> Iterator[str]:
    then, here = _files(planned), _files(now)
    shared = [path for path in then if path in here]
    cut_alike = _most_rows(planned) == _most_rows(now)
    # Digests are of what is read, such as the columns of a Parquet file.
    changed = [
        path
        for path in shared
        if then[path].bytes != here[path].bytes
        or (planned.options == now.options and _content_differs(then[path], here[path], cut_alike=cut_alike))
    ]
    for what, paths in (
        ("added", [path for path in here if path not in then]),
        ("left out", [path for path in then if path not in here]),
        ("changed", changed),
    ):
        if paths:
            yield f"{counted(len(paths), 'file')} {what} ({', '.join(map(str, paths[:_SHOWN]))}{', …' if paths[_SHOWN:] else ''})"
    if shared != [path for path in here if path in then]:
        yield "files in another order"
    if any(then[path].spans != here[path].spans for path in shared if path not in changed):
        yield f"shards of up to {counted(_most_rows(planned), 'row')}, now {_most_rows(now):,}"


def _files(plan: Plan) -> dict[Path, _File]:
    found = {source.path: _File(source.bytes, [], []) for source in plan.sources}
    for shard in plan.shards:
        file = found[plan.sources[shard.source].path]
        file.spans.append(shard.span)
        file.digests.append(shard.sha256)
    return found


def _most_rows(plan: Plan) -> int:
    return max(shard.span.rows for shard in plan.shards)


def _content_differs(then: _File, here: _File, *, cut_alike: bool) -> bool:
    """Whether a file of the same size has other content; of one that is cut otherwise on purpose that can't be told."""
    return then.digests != here.digests if then.spans == here.spans else cut_alike


def _other_options(planned: Plan, now: Plan) -> Iterator[str]:
    for option in fields(planned.options):
        then, here = getattr(planned.options, option.name), getattr(now.options, option.name)
        if then != here:
            yield f"--{_OPTIONS.get(option.name, option.name)} {_told(then)}, now {_told(here)}"


def _told(value: Any) -> str:
    """An option's value: `image_id=id, caption=text`, `yes`, `not given`."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{field}={column}" for field, column in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value else "not given"


def _other_linking(planned: Plan, now: Plan) -> Iterator[str]:
    then, here = planned.linking.model_dump(mode="json"), now.linking.model_dump(mode="json")
    for what in then:
        if then[what] != here[what]:
            yield f"{what} {apart(then[what], here[what])}, now {apart(here[what], then[what])}"
