"""The schema that /docs shows: FastAPI's, with the bodies that routes parse themselves, the problems of every route, and answers.

`answers.json` has an answer of each route by its operation's id, recorded over the example data by `tests/support/examples.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from nbclip.schemas.service import NotReadyProblem, Problem
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from kg_service.api.body import accepted

_TEMPLATE = "#/components/schemas/{model}"
_JSON = "application/json"


def schema_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """What `app.openapi` is to be; made once."""
    return cache(lambda: _schema(app))


def _schema(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        routes=app.routes,
    )
    models: list[type[BaseModel]] = [*accepted(), Problem, NotReadyProblem]
    _, bodies = models_json_schema([(model, "validation") for model in models], ref_template=_TEMPLATE)
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for name, definition in bodies["$defs"].items():
        schemas.setdefault(name, definition)
    answers = json.loads((files("kg_service.api") / "answers.json").read_text(encoding="utf-8"))
    for operation in _operations(schema):
        for status, example in answers.get(operation["operationId"], {}).items():
            operation["responses"][status]["content"][_JSON]["example"] = example
    return schema


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (operation for methods in schema["paths"].values() for operation in methods.values())
