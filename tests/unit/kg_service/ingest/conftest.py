"""A linker and a vocabulary made of dicts.

C0000001 pneumonia ─is_a─ C0000003 lung disease ─is_a─ C0000005 disease ─ C0000002 effusion is_a disease
"""

import pytest
from kg_service.graph.embedded.store import open_embedded
from kg_service.linking.model import LinkedCaption, Mention
from kg_service.vocabulary.model import Concept, Edge, Surroundings

NAMES = {
    "C0000001": "pneumonia",
    "C0000002": "effusion",
    "C0000003": "lung disease",
    "C0000005": "disease",
}
PARENTS = {"C0000001": ["C0000003"], "C0000002": ["C0000005"], "C0000003": ["C0000005"], "C0000005": []}


class DictLinker:
    """Finds names word for word; `no` right before one makes it absent."""

    name = "dict-1"

    def link(self, captions):
        return [LinkedCaption(caption, tuple(self._mentions(caption))) for caption in captions]

    def _mentions(self, caption):
        for cui, name in NAMES.items():
            start = caption.find(name)
            if start >= 0:
                assertion = "absent" if caption[:start].endswith("no ") else "present"
                yield Mention(cui, name, name, start, start + len(name), 0.9, "exact", assertion)


class DictVocabulary:
    def __contains__(self, cui):
        return cui in NAMES

    def surroundings(self, cuis):
        pending, found = list(cuis), set()
        while pending:
            cui = pending.pop()
            found.add(cui)
            pending += PARENTS[cui]
        concepts = [Concept(cui, NAMES[cui], ("T047",), "MSH") for cui in sorted(found)]
        return Surroundings(concepts, [Edge(cui, parent, "MSH") for cui in sorted(found) for parent in PARENTS[cui]], [])


@pytest.fixture
def linker():
    return DictLinker()


@pytest.fixture
def vocabulary():
    return DictVocabulary()


@pytest.fixture
def store(tmp_path):
    store = open_embedded(tmp_path / "graph.db")
    yield store
    store.close()
