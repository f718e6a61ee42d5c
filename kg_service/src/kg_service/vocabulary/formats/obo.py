"""Ontologies in OBO, and as OBO graphs in JSON. Only here is fastobo imported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from nbclip.errors import InvalidInput

from kg_service.vocabulary.files import AGAIN, Part
from kg_service.vocabulary.formats.obo_words import obo_expectation
from kg_service.vocabulary.formats.opening import needs, opened, start_of
from kg_service.vocabulary.formats.terms import Ontology, Term

_IRI = re.compile(r".*[/#]([^/#]+)$")
_NO_GRAPH = re.compile(rb'"graphs"\s*:\s*\[\s*\]')
_NODE = re.compile(rb'"id"\s*:\s*"([^"]+)"')
_OBO_IRI = re.compile(r"^.*[/#]([^/#]+?)_([^/#_]+)$")
_PLACE_IN_JSON = re.compile(r"(?P<reason>.*) at line (?P<line>\d+) column \d+", re.DOTALL)
_CORRECT = "correct this, or download the file again"


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
        except SyntaxError as error:
            raise _no_obo(part, error) from error
        except (ValueError, OSError) as error:
            raise _undecodable(part, error) from error


def read_obo_graph(part: Part) -> Ontology:
    """An ontology as OBO graph in JSON.

    Raises:
        MissingExtra: fastobo is not installed.
        InvalidInput: the file is damaged, or holds no graph.
    """
    with needs("ontologies", "reading an ontology"):
        import fastobo
    if _NO_GRAPH.search(start_of(part)):  # the parser would panic
        raise InvalidInput(f'{part.place} holds no graph: its list "graphs" is empty', hint=AGAIN)
    with opened(part) as stream:
        try:
            document = fastobo.load_graph(stream).compact_ids()
        except SyntaxError as error:
            raise InvalidInput(f"{part.place}: {error.text!r:.120} can't be an id", hint=_CORRECT) from error
        except (ValueError, OSError) as error:
            raise _no_obo_graph(part, error) from error
    found = _ontology(document.header, document)
    known = {term.id for term in found.terms}
    found.terms += [Term(term_id) for term_id in _repeated(part) if term_id in known]
    return found


def _repeated(part: Part) -> list[str]:
    """The ids of nodes that have an earlier node's id: the parser makes one term of both."""
    met: set[bytes] = set()
    again = []
    with opened(part) as stream:
        for iri in (iri for line in stream for iri in _NODE.findall(line)):
            if iri in met:
                again.append(_OBO_IRI.sub(r"\1:\2", iri.decode()))
            met.add(iri)
    return again


def _no_obo(part: Part, error: SyntaxError) -> InvalidInput:
    text = (error.text or "").strip("␊␍ ")
    return InvalidInput(
        f"{part.place}:{error.lineno}: expected {obo_expectation(str(error.args[0]))}, found {text!r:.120}", hint=_CORRECT
    )


def _no_obo_graph(part: Part, error: Exception) -> InvalidInput:
    """What is wrong with the JSON or, where it is whole, with what is said in it."""
    with opened(part) as stream:
        try:
            json.load(stream)
        except json.JSONDecodeError as wrong:
            return InvalidInput(f"{part.place}:{wrong.lineno}: no JSON at column {wrong.colno}: {wrong.msg}", hint=_CORRECT)
        except (UnicodeDecodeError, OSError) as wrong:
            return _undecodable(part, wrong)
    said = _PLACE_IN_JSON.fullmatch(str(error))
    place, reason = (f"{part.place}:{said['line']}", said["reason"]) if said else (part.place, str(error))
    return InvalidInput(f"{place}: no OBO graph: {reason}", hint=_CORRECT)


def _undecodable(part: Part, error: Exception) -> InvalidInput:
    with opened(part) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError as wrong:
                return InvalidInput(
                    f"{part.place}:{number}: not UTF-8: byte 0x{line[wrong.start]:02x} at byte {wrong.start + 1} of the line",
                    hint="convert the file: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW",
                )
    return InvalidInput(f"{part.place} can't be read: {error}", hint=AGAIN)


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
                term.alt_ids.append(str(clause.alt_id))
    return term


def is_obo(start: bytes) -> bool:
    """Whether a file that starts so is in OBO."""
    return re.search(rb"^(format-version:|\[Term\])", start, re.MULTILINE) is not None


def is_obo_graph(start: bytes) -> bool:
    """Whether a file that starts so is an OBO graph."""
    return start.lstrip().startswith(b"{") and b'"graphs"' in start
