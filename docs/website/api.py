"""The page of the REST interface, from the service's OpenAPI document."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from kg_service.api.application import create_app
from kg_service.config import load_settings

_HEAD = """# REST interface

Every route of the service with its parameters, body and answers, from the OpenAPI document of version {version}. A running
service has the same at `/docs`, where requests can be tried, and the document itself at `/openapi.json`.
[The service over HTTP](../service.md) says what clients may rely on.

{description}"""


# A bracket within a string would only leave that list as it is.
_BREAK = re.compile(r"\n *")
_PLAIN_LIST = re.compile(r"\[[^\[\]{}]*\]")


def api_page() -> str:
    """The whole page as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        document = create_app(load_settings(data=Path(folder))).openapi()
    routes = [(path, method, route) for path, methods in document["paths"].items() for method, route in methods.items()]
    lines = [_HEAD.format(version=document["info"]["version"], description=document["info"]["description"].strip())]
    # Routes keep their order within a tag; a tag stands where its first route does.
    order = list(dict.fromkeys(route["tags"][0] for _, _, route in routes))
    for tag, tagged in groupby(sorted(routes, key=lambda each: order.index(each[2]["tags"][0])), lambda each: each[2]["tags"][0]):
        lines.append(f"## {tag.capitalize()}")
        lines += [line for path, method, route in tagged for line in _route(path, method, route)]
    lines.append("## Bodies and answers")
    lines += [line for name, schema in sorted(document["components"]["schemas"].items()) for line in _schema(name, schema)]
    return "\n\n".join(lines) + "\n"


def _route(path: str, method: str, route: Mapping[str, Any]) -> Iterator[str]:
    """Heading, description, parameters, body and answers of a route."""
    yield f"### {method.upper()} {path}"
    yield _escaped(route.get("description", route["summary"]))
    if parameters := route.get("parameters"):
        rows = [
            (
                f"`{each['name']}`",
                each["in"],
                *_type_and_default(each["schema"], each["required"]),
                _cell(each.get("description", "")),
            )
            for each in parameters
        ]
        yield _table(("parameter", "in", "type", "default", "meaning"), rows)
    for media, content in route.get("requestBody", {}).get("content", {}).items():
        yield f"**Body** `{media}`: {_type(content.get('schema', {}))}"
        for name, example in content.get("examples", {}).items():
            yield f"*{name}*\n\n{_fence(example['value'])}"
    yield from _answers(route["responses"])


def _answers(responses: Mapping[str, Any]) -> Iterator[str]:
    """Successes with their example, then the codes of all refusals in one line."""
    for status, response in responses.items():
        if status < "400":
            kinds = [
                f"`{media}` {_type(content.get('schema', {}))}".strip() for media, content in response.get("content", {}).items()
            ]
            yield f"**{status}** {' or '.join(kinds) or response['description']}"
            for content in response.get("content", {}).values():
                if "example" in content:
                    yield _fence(content["example"])
    if refusals := [status for status in responses if status >= "400"]:
        yield f"**Refusals** ([`Problem`](#problem)): {', '.join(refusals)}"


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    if text := schema.get("description"):
        yield _escaped(text)
    required = schema.get("required", [])
    rows = [
        (f"`{field}`", *_type_and_default(each, field in required), _cell(each.get("description", "")))
        for field, each in schema.get("properties", {}).items()
    ]
    if rows:
        yield _table(("field", "type", "default", "meaning"), rows)
    elif "enum" in schema:
        yield _type(schema)


def _type_and_default(schema: Mapping[str, Any], required: bool) -> tuple[str, str]:
    default = "required" if required else f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
    return _type(schema), default


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words: its type, its choices, its bounds; another schema is a link to its section."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(map(_type, several)))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}{_bounds(schema, 'minItems', 'maxItems')}"
    if schema.get("type") == "object" and isinstance(values := schema.get("additionalProperties"), dict):
        return f"object of {_type(values)}"
    return f"{schema.get('format') or schema.get('type', 'any')}{_bounds(schema, 'minimum', 'maximum')}"


def _bounds(schema: Mapping[str, Any], least: str, most: str) -> str:
    found = [f"{sign} {schema[name]:g}" for sign, name in (("≥", least), ("≤", most)) if name in schema]
    return f" ({', '.join(found)})" if found else ""


def _fence(value: Any) -> str:
    """A value in a fence; lists of plain values have a line each."""
    text = _PLAIN_LIST.sub(lambda plain: _BREAK.sub(_space, plain[0]), json.dumps(value, indent=2, ensure_ascii=False))
    return f"```json\n{text}\n```"


def _space(broken: re.Match[str]) -> str:
    """A space after a comma, nothing beside a bracket."""
    return " " if broken.string[broken.start() - 1] == "," else ""


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|").replace("\n", " ")


def _escaped(text: str) -> str:
    """Text in which `<` begins no element, and `[R][C]` is no link."""
    return text.replace("<", "&lt;").replace("][", "]\\[")
