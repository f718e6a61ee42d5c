"""Ontologies in OWL, as RDF/XML. Only here is rdflib imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nbclip.errors import InvalidInput

from kg_service.vocabulary.files import Part
from kg_service.vocabulary.formats.opening import UTF_16, needs, opened
from kg_service.vocabulary.formats.rf2 import LANGUAGES
from kg_service.vocabulary.formats.terms import Ontology, Scope, Term

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

_OBO = "http://purl.obolibrary.org/obo/"
_IN_OWL = "http://www.geneontology.org/formats/oboInOwl#"
_SCOPES: dict[str, Scope] = {
    f"{_IN_OWL}hasExactSynonym": "EXACT",
    f"{_IN_OWL}hasNarrowSynonym": "NARROW",
    f"{_IN_OWL}hasRelatedSynonym": "RELATED",
    f"{_IN_OWL}hasBroadSynonym": "BROAD",
    "http://www.w3.org/2004/02/skos/core#altLabel": "EXACT",
    f"{_OBO}IAO_0000118": "EXACT",
}
_LOCAL_SCOPES: dict[str, Scope] = {
    "synonym": "EXACT",
    "acronym": "EXACT",
    "preferred_name": "PREFERRED",
    "preflabel": "PREFERRED",
}
"""By the last part of other properties' IRIs, as RadLex has them."""
_OBSOLETE = "preferred_name_for_obsolete"
_LOCAL = re.compile(r"[^/#]+$")
_LINE_OF_RDF = re.compile(r"(?s)(?:.*?:(\d+):\d+: )?(.*)")
_OBO_ID = re.compile(r"([A-Za-z][A-Za-z0-9_]*?)_([A-Za-z0-9.-]+)")
_PLAIN_ID = re.compile(r"[A-Za-z]{2,16}[0-9]{1,16}|C[0-9]{7}|[1-9][0-9]{5,17}")


def read_owl(part: Part) -> Ontology:
    """An ontology in OWL: named classes, `subClassOf` a class or `some` of a property, and their names.

    Raises:
        MissingExtra: rdflib is not installed.
        InvalidInput: the file is damaged; names the line.
    """
    with needs("ontologies", "reading an ontology"):
        from rdflib import Graph
        from rdflib.exceptions import ParserError
    from xml.sax import SAXParseException

    graph = Graph()
    with opened(part) as stream:
        try:
            graph.parse(stream, format="xml", publicID="urn:x-own:")
        except SAXParseException as error:
            raise _damaged(f"{part.place}:{error.getLineNumber()}", error.getMessage()) from error
        except ParserError as error:
            line, reason = _LINE_OF_RDF.match(str(error)).groups("1")  # type: ignore[union-attr]
            raise _damaged(f"{part.place}:{line}", reason) from error
        except (SyntaxError, ValueError, OSError) as error:
            raise _damaged(part.place, error) from error
    return _Reader(graph).ontology()


def is_owl(start: bytes) -> bool:
    """Whether a file that starts so is RDF/XML, in UTF-8 or UTF-16."""
    plain = start.decode("utf-16", "ignore").encode() if start[:2] in UTF_16 else start
    return plain.lstrip().startswith(b"<") and b"http://www.w3.org/1999/02/22-rdf-syntax-ns#" in plain


def _damaged(place: str, reason: object) -> InvalidInput:
    return InvalidInput(f"{place}: {reason}", hint="correct it, or download the file again; OWL is read as RDF/XML alone")


class _Reader:
    """Reads a graph of triples as an ontology."""

    def __init__(self, graph: Graph) -> None:
        from rdflib import OWL, RDF, RDFS

        self._graph, self._owl, self._rdf, self._rdfs = graph, OWL, RDF, RDFS
        about = next(iter(graph.subjects(RDF.type, OWL.Ontology)), "")
        self._about = about
        local = _LOCAL.search(str(about).rstrip("/#"))
        self._name = re.sub(r"\.(owl|obo|rdf)$", "", local[0]) if local else ""

    def ontology(self) -> Ontology:
        """All of it."""
        version = next((str(value) for value in self._values(self._about, self._owl.versionInfo)), "")
        found = Ontology(self._name, version or _version(str(next(self._values(self._about, self._owl.versionIRI), ""))))
        found.terms = [self._term(node, found) for node in self._classes()]
        return found

    def _values(self, node: Any, property: Any) -> Iterator[Node]:
        return iter(sorted(self._graph.objects(node, property))) if node else iter(())

    def _iris(self, nodes: Any) -> list[Any]:
        from rdflib import URIRef

        return sorted({node for node in nodes if isinstance(node, URIRef)})

    def _classes(self) -> list[Any]:
        graph = self._graph
        named = {*graph.subjects(self._rdf.type, self._owl.Class), *graph.subjects(self._rdfs.subClassOf)}
        return [node for node in self._iris(named) if node not in (self._owl.Thing, self._owl.Nothing)]

    def _called(self, property: Any) -> str:
        shorthand = next(self._values(property, _iri(f"{_IN_OWL}shorthand")), None)
        label = next(self._values(property, self._rdfs.label), None)
        return str(label or shorthand or _LOCAL.search(str(property))[0])  # type: ignore[index]

    def _id(self, node: Any) -> str:
        """`oboInOwl:id`, or what the IRI ends in; with the ontology's name before it where that is no id by itself."""
        if own := next(self._values(node, _iri(f"{_IN_OWL}id")), None):
            return str(own)
        match = _LOCAL.search(str(node))
        local = match[0] if match else str(node)
        if obo := _OBO_ID.fullmatch(local):
            return f"{obo[1]}:{obo[2]}"
        return local if _PLAIN_ID.fullmatch(local) or ":" in local else f"{self._name or 'own'}:{local}"

    def _term(self, node: Any, found: Ontology) -> Term:
        term = Term(self._id(node))
        names: dict[tuple[str, Scope, str], None] = {}
        for property, value in sorted(self._graph.predicate_objects(node)):
            local = (_LOCAL.search(str(property)) or [""])[0].casefold()
            scope = "PREFERRED" if property == self._rdfs.label else _SCOPES.get(str(property)) or _LOCAL_SCOPES.get(local)
            if scope:
                names[str(value), scope, _language(value)] = None
            elif property == self._rdfs.subClassOf:
                self._take_parent(term, value, found)
            elif property == self._owl.deprecated:
                term.obsolete |= str(value) in ("true", "1")
            elif local == _OBSOLETE:
                term.obsolete = True
            elif str(property) == f"{_IN_OWL}hasOBONamespace":
                term.namespace = str(value)
            elif str(property) == f"{_IN_OWL}hasAlternativeId":
                term.alt_ids.append(str(value))
        term.names = list(names)
        return term

    def _take_parent(self, term: Term, value: Any, found: Ontology) -> None:
        for node in self._iris([value]):
            if node != self._owl.Thing:
                term.parents.append(self._id(node))
            return
        for property in self._iris(self._graph.objects(value, self._owl.onProperty)):
            for target in self._iris(self._graph.objects(value, self._owl.someValuesFrom)):
                found.relation_names.setdefault(str(property), self._called(property))
                term.relations.append((str(property), self._id(target)))
                return
        found.unread["superclasses that are neither a class nor `some` of a property"] += 1


def _iri(text: str) -> Any:
    from rdflib import URIRef

    return URIRef(text)


def _language(value: Any) -> str:
    code = str(getattr(value, "language", None) or "en")[:2].casefold()
    return LANGUAGES.get(code, code.upper())


def _version(iri: str) -> str:
    """2024-01-18 of …/releases/2024-01-18/uberon.owl, or all of it."""
    dated = re.search(r"\d{4}-\d{2}-\d{2}", iri)
    return dated[0] if dated else iri
