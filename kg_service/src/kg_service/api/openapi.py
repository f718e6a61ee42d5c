"""The schema that /docs shows: FastAPI's, with the bodies that routes parse themselves and the problems of every route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from nbclip.schemas.explanations import ExplainRequest
from nbclip.schemas.images import ImagesRequest
from nbclip.schemas.linking import LinkRequest
from nbclip.schemas.service import Problem
from nbclip.schemas.snapshots import PublishRequest
from nbclip.schemas.targets import TargetsRequest
from pydantic.json_schema import models_json_schema

_BODIES = (ImagesRequest, LinkRequest, TargetsRequest, ExplainRequest, PublishRequest, Problem)
_TEMPLATE = "#/components/schemas/{model}"


def schema_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """What `app.openapi` is to be; made once."""
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(_schema(app))
        return made

    return openapi


def _schema(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    _, bodies = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_TEMPLATE)
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for name, definition in bodies["$defs"].items():
        schemas.setdefault(name, definition)
    return schema
