"""Ontologies in OBO, and as OBO graphs in JSON. Only here is fastobo imported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from nbclip.errors import InvalidInput

from kg_service.vocabulary.files import Part
from kg_service.vocabulary.formats.opening import needs, opened
from kg_service.vocabulary.formats.terms import Ontology, Term

_IRI = re.compile(r".*[/#]([^/#]+)$")


def read_obo(part: Part) -> Ontology:
    """An ontology in OBO.

    Raises:
        MissingExtra: fastobo is not installed.
        InvalidInput: the file is damaged; names the line.
    """
    with needs("ontologies", "reading an ontology"):
        import fastobo
    with opened(part) as stream:
        try:
            document = fastobo.iter(stream, ordered=True)
            return _ontology(document.header(), document)
        except (SyntaxError, ValueError, OSError) as error:
            raise _damaged(part, error) from error


def read_obo_graph(part: Part) -> Ontology:
    """An ontology as OBO graph in JSON.

    Raises:
        MissingExtra: fastobo is not installed.
        InvalidInput: the file is damaged.
    """
    with needs("ontologies", "reading an ontology"):
        import fastobo
    with opened(part) as stream:
        try:
            document = fastobo.load_graph(stream).compact_ids()
        except (SyntaxError, ValueError, OSError) as error:
            raise _damaged(part, error) from error
    return _ontology(document.header, document)


def _damaged(part: Part, error: Exception) -> InvalidInput:
    line = error.lineno if isinstance(error, SyntaxError) else _undecodable_line(part)
    place = part.place if line is None else f"{part.place}:{line}"
    text = (error.args[0] if error.args else error) if isinstance(error, SyntaxError) else error
    return InvalidInput(f"{place}: {text}", hint="correct this line, or download the file again")


def _undecodable_line(part: Part) -> int | None:
    with opened(part) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


def _ontology(header: Iterable[Any], frames: Iterable[Any]) -> Ontology:
    said = {clause.raw_tag(): clause.raw_value() for clause in header}
    name = _IRI.sub(r"\1", said.get("ontology", ""))
    found = Ontology(re.sub(r"\.(obo|owl|json)$", "", name), said.get("data-version", ""))
    namespace = said.get("default-namespace", "")
    for frame in frames:
        clauses = [(clause.raw_tag(), clause) for clause in frame]
        kind = type(frame).__name__
        if kind == "TermFrame":
            found.terms.append(_term(str(frame.id), clauses, namespace))
        elif kind == "TypedefFrame":
            found.relation_names |= {str(frame.id): clause.name for tag, clause in clauses if tag == "name"}
    return found


def _term(term_id: str, clauses: list[tuple[str, Any]], namespace: str) -> Term:
    term = Term(term_id, namespace=namespace)
    for tag, clause in clauses:
        match tag:
            case "name":
                term.names.append((clause.name, "PREFERRED", "ENG"))
            case "synonym":
                term.names.append((clause.synonym.desc, clause.synonym.scope, "ENG"))
            case "is_a":
                term.parents.append(str(clause.term))
            case "relationship":
                term.relations.append((str(clause.typedef), str(clause.term)))
            case "is_obsolete":
                term.obsolete = clause.obsolete
            case "namespace":
                term.namespace = str(clause.namespace)
            case "alt_id":
                term.alt_ids += 1
    return term


def is_obo(start: bytes) -> bool:
    """Whether a file that starts so is in OBO."""
    return re.search(rb"^(format-version:|\[Term\])", start, re.MULTILINE) is not None


def is_obo_graph(start: bytes) -> bool:
    """Whether a file that starts so is an OBO graph."""
    return start.lstrip().startswith(b"{") and b'"graphs"' in start
