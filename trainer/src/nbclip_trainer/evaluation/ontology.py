"""Ancestors of concepts, for cui_onto@K: from a file or from the running service."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nbclip.client import Service
from nbclip.errors import InvalidInput, NotFound
from pydantic import TypeAdapter, ValidationError

Ancestors = dict[str, frozenset[str]]
_FILE: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])


@dataclass(frozen=True, slots=True)
class Ontology:
    """Where is_a comes from, for the record, and how to get all ancestors of some concepts."""

    source: str
    ancestors: Callable[[Iterable[str]], Ancestors]


def file_ontology(path: Path) -> Ontology:
    """The ancestors that a file names; raises as `read_ancestors`."""
    ancestors = read_ancestors(path)
    return Ontology(str(path), lambda cuis: ancestors)


def service_ontology(service: Service) -> Ontology:
    """The ancestors that a service knows; asked for as `fetch_ancestors` says."""
    return Ontology(f"the service at {service.url}", partial(fetch_ancestors, service))


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


def fetch_ancestors(service: Service, cuis: Iterable[str]) -> Ancestors:
    """All is_a ancestors of each concept; one that the vocabulary lacks has none.

    Args:
        service: where they are asked for.
        cuis: concepts to ask for, in sorted order.

    Raises:
        ServiceAway: the service doesn't answer.
        NBClipError: it refuses.
    """
    return {cui: _ancestors(service, cui) for cui in sorted(set(cuis))}


def _ancestors(service: Service, cui: str) -> frozenset[str]:
    try:
        return frozenset(above.cui for above in service.concept(cui).ancestors)
    except NotFound:
        return frozenset()
