"""JSON bodies: read on the event loop, parsed and checked in a thread; but short ones where work is done on the loop too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.concurrency import run_in_threadpool

from kg_service.api.problems import InvalidBody, UnsupportedMediaType, invalid_body

Model = TypeVar("Model", bound=BaseModel)
_SHORT = 64 << 10


async def json_body(request: Request) -> bytes:
    """The body. A page of another site can't send this type unasked, which protects a service without keys.

    Raises:
        UnsupportedMediaType: it is not said to be JSON.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(f"Content-Type {media_type!r:.80}", hint="send application/json")
    return await request.body()


JsonBody = Annotated[bytes, Depends(json_body)]


def parse(model: type[Model], body: bytes, check: Callable[[Any], None]) -> Model:
    """The body as `model`; `check` sees it before its values are looked at.

    Raises:
        InvalidBody: it is no JSON (NaN, infinities and lone surrogates are none) or not what the model says.
    """
    try:
        # Ids are all different: looking each up among those that came before costs as much as reading it.
        values = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise InvalidBody([{"where": "body", "message": f"not JSON: {error}"}]) from error
    check(values)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid_body(error, "body") from error


async def parse_aside(model: type[Model], body: bytes, check: Callable[[Any], None]) -> Model:
    """As `parse`, for routes on the event loop: in a thread, unless the body is short.

    Python's lock is still held for each of its steps, some milliseconds for two megabytes; between them the loop goes on.
    """
    if is_short(body):
        return parse(model, body, check)
    return await run_in_threadpool(parse, model, body, check)


def is_short(body: bytes) -> bool:
    """Whether a body is parsed in about the time of the way to a thread and back."""
    return len(body) <= _SHORT


_accepted: list[type[BaseModel]] = []


def accepted() -> Sequence[type[BaseModel]]:
    """The models of all bodies that routes parse themselves, whose definitions the framework therefore does not know."""
    return tuple(_accepted)


def accepts(model: type[BaseModel], examples: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAPI of a body, for `openapi_extra=`."""
    _accepted.append(model)
    content = {
        "schema": {"$ref": f"#/components/schemas/{model.__name__}"},
        "examples": {name: {"value": value} for name, value in examples.items()},
    }
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def answer(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The model as JSON, made in the calling thread."""
    return Response(model.model_dump_json(), status, headers, "application/json")
