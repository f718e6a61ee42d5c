"""Ancestors of concepts, for cui_onto@K: from a file or from the running service."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from nbclip.client import Service
from nbclip.errors import InvalidInput, NotFound
from nbclip.schemas.concepts import ConceptOut
from pydantic import TypeAdapter, ValidationError

Ancestors = dict[str, frozenset[str]]
_FILE: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])


@dataclass(frozen=True, slots=True)
class Ontology:
    """Where is_a comes from, for the record, and how to get all ancestors of some concepts, and their names if it knows any."""

    source: str
    ancestors: Callable[[Iterable[str]], Ancestors]
    names: Callable[[Iterable[str]], dict[str, str]] = lambda cuis: {}


def file_ontology(path: Path) -> Ontology:
    """The ancestors that a file names; raises as `read_ancestors`."""
    ancestors = read_ancestors(path)
    return Ontology(str(path), lambda cuis: ancestors)


def service_ontology(service: Service) -> Ontology:
    """The ancestors and names that a service knows, each concept asked for once; raises as `fetch_ancestors`."""
    concept = cache(partial(_concept, service))
    return Ontology(f"the service at {service.url}", partial(_ancestors, concept), partial(_names, concept))


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
    return _ancestors(partial(_concept, service), cuis)


def _ancestors(concept: Callable[[str], ConceptOut | None], cuis: Iterable[str]) -> Ancestors:
    found = {cui: concept(cui) for cui in sorted(set(cuis))}
    return {cui: frozenset(above.cui for above in one.ancestors) if one else frozenset() for cui, one in found.items()}


def _names(concept: Callable[[str], ConceptOut | None], cuis: Iterable[str]) -> dict[str, str]:
    return {cui: one.name for cui in sorted(set(cuis)) if (one := concept(cui)) is not None}


def _concept(service: Service, cui: str) -> ConceptOut | None:
    try:
        return service.concept(cui)
    except NotFound:
        return None
