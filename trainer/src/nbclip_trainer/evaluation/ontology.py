"""Ancestors of concepts, for cui_onto@K: from a file or from the running service."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
from nbclip.errors import InvalidInput, Unavailable
from nbclip.schemas.concepts import ConceptOut
from pydantic import TypeAdapter, ValidationError

Ancestors = dict[str, frozenset[str]]
_FILE: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])


@dataclass(frozen=True, slots=True)
class Ontology:
    """Where is_a comes from, for the record, and how all ancestors of some concepts are had."""

    source: str
    ancestors: Callable[[Iterable[str]], Ancestors]


def file_ontology(path: Path) -> Ontology:
    """The ancestors that a file names; raises as `read_ancestors`."""
    ancestors = read_ancestors(path)
    return Ontology(str(path), lambda cuis: ancestors)


def service_ontology(client: httpx2.Client) -> Ontology:
    """The ancestors that a service knows; asked for as `fetch_ancestors` says."""
    return Ontology(f"the service at {client.base_url}", partial(fetch_ancestors, client))


def read_ancestors(path: Path) -> Ancestors:
    """Reads JSON of the form `{"C0024109": ["C0024115", …]}`: all is_a ancestors of each concept.

    Raises:
        InvalidInput: no such file, or another form.
    """
    try:
        return {cui: frozenset(above) for cui, above in _FILE.validate_json(path.read_bytes()).items()}
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}", hint="name a JSON file of ancestors") from error
    except ValidationError as error:
        raise InvalidInput(f"{path}: not a JSON object of CUI to list of CUIs", hint='{"C0024109": ["C0024115"]}') from error


def fetch_ancestors(client: httpx2.Client, cuis: Iterable[str]) -> Ancestors:
    """Asks `GET /concepts/{cui}` for each concept; one that the vocabulary lacks has no ancestors.

    Args:
        client: with the service's address as `base_url`, and the key where it wants one.
        cuis: concepts to ask for; asked for in sorted order.

    Raises:
        Unavailable: the service doesn't answer.
        InvalidInput: it refuses, or what answers is no kg-service.
    """
    return {cui: _ancestors(client, cui) for cui in sorted(set(cuis))}


def _ancestors(client: httpx2.Client, cui: str) -> frozenset[str]:
    try:
        response = client.get(f"/concepts/{cui}")
    except httpx2.TransportError as error:
        raise Unavailable(f"{client.base_url}: no answer: {error}", hint="start it with `kg-service serve`") from error
    if response.status_code == httpx2.codes.NOT_FOUND:
        return frozenset()
    if response.is_error:
        raise InvalidInput(f"{response.url}: status {response.status_code}", hint="are address and key right?")
    try:
        return frozenset(concept.cui for concept in ConceptOut.model_validate_json(response.content).ancestors)
    except ValidationError as error:
        raise InvalidInput(f"{response.url}: not a concept", hint="is that a kg-service of this version?") from error
