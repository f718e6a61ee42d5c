"""Graphs that a store, a copy or a file format may stumble over."""

from __future__ import annotations

import unicodedata

from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode, IsAEdge, RelationEdge

TEXTS = [
    "plain",
    "",
    " ",
    " leading and trailing ",
    'a "quote", \'\' and ""',
    '"',
    "comma, semicolon; pipe | tab\t",
    "line\nbreak, carriage\r\nreturn, lone\rone",
    "\n",
    'backslash \\ \\" \\n',
    "emoji 🫁, é and e\u0301, \U0010ffff",
    "\u2028 \x85 \x0b \x0c \x1f \x00",
    "\ufeffbyte order mark",
    "null",
    "=1+1",
]
CONCEPTS = [
    ConceptNode("C0000001", "Pneumonia", ("T047", "T033"), "MSH"),
    ConceptNode("C0000002", 'Effusion, "pleural"\nor not', (), "S;X"),
    ConceptNode("C0000003", ""),
    ConceptNode("a CUI / of one's own", "only named"),
]
IS_A = [IsAEdge("C0000001", "C0000003", "MSH"), IsAEdge("a CUI / of one's own", "C0000001"), IsAEdge("C0000002", "C0000003", "'")]

RELATIONS = [
    RelationEdge("C0000001", "has_finding_site", "C0000003", "NCI"),
    RelationEdge("C0000001", "part_of", "C0000001"),
    RelationEdge("C0000001", "part_of", "C0000002"),
    RelationEdge("a CUI / of one's own", "`]->() DETACH DELETE (n) //", "C0000002", "it's"),
]


def nasty_graph() -> GraphBatch:
    """Every text in every place that holds free text, empty beside missing, all assertions, images without attributes."""
    return GraphBatch([_image(*numbered) for numbered in enumerate(TEXTS)], CONCEPTS, IS_A, RELATIONS)


def _image(number: int, text: str) -> ImageNode:
    cuis = [concept.cui for concept in CONCEPTS][: number % 5]
    assertion = ("present", "absent", "uncertain")[number % 3]
    attributes = tuple(
        AttributeEdge(cui, text, number, number + 9, 0.1 + 0.2 * number, f"rule {text}", assertion, f"linker {text}")
        for cui in cuis
    )
    dataset, split = (None if number % 2 else text), (None if number % 3 else text)
    image_id = "".join(character for character in f"{number}/{text} a" if unicodedata.category(character) != "Cc")
    return ImageNode(image_id, text, attributes, dataset, split, f"2026-11-24T01:02:03.{number:03}+00:00")
