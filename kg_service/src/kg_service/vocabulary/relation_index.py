"""The typed edges of a compiled vocabulary, by where they leave."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from kg_service.storage.artefact import Artefact


class RelationIndex:
    """Edges of positions of concepts; empty where the vocabulary was built without relations."""

    def __init__(self, artefact: Artefact) -> None:
        self.counts: dict[str, int] = dict(artefact.manifest.get("relations", {}))
        self._names, self._sources = list(self.counts), artefact.manifest.get("relation_sources", [])
        columns = ("relations_of", "relation", "relation_target", "relation_source") if self.counts else ()
        self._columns = [artefact.array(name) for name in columns]

    def edges(self, index: int) -> Iterator[tuple[str, int, str]]:
        """Relation, target and source of each edge that leaves a concept, by relation and target."""
        if self._columns:
            pointers, *columns = self._columns
            start, stop = pointers[index : index + 2]
            for relation, target, source in zip(*(column[start:stop].tolist() for column in columns), strict=True):
                yield self._names[relation], target, self._sources[source]

    def targets(self, index: int, relations: Collection[str]) -> list[int]:
        """Where edges of these relations lead from a concept."""
        return [target for relation, target, _ in self.edges(index) if relation in relations]


def reached(starts: Iterable[int], step: Callable[[int], list[int]]) -> set[int]:
    """The positions themselves, and all that any number of steps leads to."""
    found: set[int] = set()
    pending = list(starts)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending.extend(step(node))
    return found
