"""The embedded graph store: one SQLite file, safe to share by threads and by processes of one machine."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from operator import attrgetter
from pathlib import Path

import numpy as np
from nbclip.errors import InvalidInput, Unavailable
from nbclip.ids import caption_sha256

from kg_service.graph.arrays import Int64s, assemble_graph
from kg_service.graph.embedded.sqlite import Database
from kg_service.graph.settlement import canonical, concept_batches, image_batch, require_concepts, settle
from kg_service.graph.store import (
    ALL,
    Access,
    AttributeEdge,
    ConceptNode,
    Graph,
    GraphBatch,
    GraphCounts,
    ImageNode,
    IsAEdge,
    OnConflict,
    RelationEdge,
    Revision,
    StoreKind,
    Wanted,
    WriteReport,
)

_GIVEN = "(SELECT value FROM json_each(?))"
_PRESENT = "provenance_key IN (SELECT provenance_key FROM provenance WHERE assertion = 'present')"
_HAS = "EXISTS (SELECT 1 FROM attribute WHERE attribute.image_key = image.image_key"
_PAGE = 5_000
_provenance = attrgetter("linker", "rule", "assertion")


def open_embedded(path: Path, *, patience_s: float = 5.0) -> EmbeddedStore:
    """Opens the store in the file `path`, which is created if there is none.

    Args:
        path: the SQLite file; `-wal` and `-shm` files stand beside it while it is open.
        patience_s: how long a write waits, in seconds, while another process writes.

    Raises:
        BrokenArtefact: the file is no graph store, is damaged, or was made by another version.
        Unavailable: it can't be opened or is locked.
    """
    return EmbeddedStore(Database(path, patience_s=patience_s))


class EmbeddedStore:
    """`GraphStore` on SQLite. Concepts and is_a of a batch are kept whatever the outcome of its images."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, batch: GraphBatch, *, on_conflict: OnConflict = "reject") -> WriteReport:
        """As `GraphStore.write`; InvalidInput if an edge names a concept that the batch lacks."""
        require_concepts(batch)
        with self._database.writing() as connection:
            concept_keys = _upsert_concepts(connection, batch.concepts)
            _upsert_is_a(connection, batch.is_a, concept_keys)
            _upsert_relations(connection, batch.relations, concept_keys)
            known = _nodes(connection, f"image_id IN {_GIVEN}", [_json(image.image_id for image in batch.images)])
            settlement = settle(batch.images, {node.image_id: canonical(node) for node in known}, on_conflict)
            removed = _delete(connection, [node.image_id for node in known if node.image_id in settlement.changed])
            _insert(connection, settlement.changed.values(), concept_keys)
            if settlement.changed:
                _next_revision(connection, removed)
        return WriteReport(settlement.outcomes)

    def image(self, image_id: str) -> ImageNode | None:
        """As `GraphStore.image`."""
        with self._database.reading() as connection:
            return next(iter(_nodes(connection, "image_id = ?", [image_id])), None)

    def images(self, *, after: str = "", limit: int = 100, wanted: Wanted = ALL) -> list[ImageNode]:
        """As `GraphStore.images`."""
        where, parameters = _conditions(wanted)
        with self._database.reading() as connection:
            return _nodes(connection, f"image_id > ? {where} ORDER BY image_id LIMIT ?", [after, *parameters, max(limit, 0)])

    def delete_image(self, image_id: str) -> bool:
        """As `GraphStore.delete_image`."""
        return self.delete_images([image_id]) > 0

    def delete_images(self, image_ids: Iterable[str]) -> int:
        """Removes images and their edges in one transaction; returns how many there were."""
        with self._database.writing() as connection:
            removed = _delete(connection, [*image_ids])
            if removed:
                _next_revision(connection, removed)
        return removed

    def image_ids(self) -> set[str]:
        """The ids of all images."""
        with self._database.reading() as connection:
            return {image_id for (image_id,) in connection.execute("SELECT image_id FROM image")}

    def splits(self) -> list[str]:
        """As `GraphStore.splits`."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT DISTINCT split FROM image WHERE split IS NOT NULL ORDER BY split")
            return [split for (split,) in rows]

    def image_count(self, cui: str) -> int:
        """As `GraphStore.image_count`."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT image_count FROM concept WHERE cui = ?", [cui]).fetchone()
        return row[0] if row else 0

    def counts(self) -> GraphCounts:
        """As `GraphStore.counts`."""
        kinds = ("image", "concept", "attribute", "is_a")
        with self._database.reading() as connection:
            numbers = [connection.execute(f"SELECT count(*) FROM {kind}").fetchone()[0] for kind in kinds]
            relations = connection.execute("SELECT relation, count(*) FROM relation GROUP BY relation ORDER BY relation")
            return replace(GraphCounts(*numbers), relations=dict(relations))

    def read_graph(self, *, dataset: str | None = None, split: str | None = None) -> Graph:
        """As `GraphStore.read_graph`."""
        with self._database.reading() as connection:
            images, attribute_A3 = _rows_above(connection, 0, dataset, split)
            concepts = connection.execute("SELECT concept_key, cui FROM concept")
            is_a_E2 = _integers(connection.execute("SELECT child, parent FROM is_a"), 2)
            return _graph(connection, images, attribute_A3, concepts, is_a_E2, _relation_keys(connection))

    def read_new(self, since: Revision, *, dataset: str | None = None, split: str | None = None) -> Graph | None:
        """As `GraphStore.read_new`."""
        with self._database.reading() as connection:
            last_key = _last_key_if_none_removed(connection, since)
            if last_key is None:
                return None
            images, attribute_A3 = _rows_above(connection, last_key, dataset, split)
            concept_keys = _json(np.unique(attribute_A3[:, 1]).tolist())
            concepts = connection.execute(f"SELECT concept_key, cui FROM concept WHERE concept_key IN {_GIVEN}", [concept_keys])
            return _graph(connection, images, attribute_A3, concepts, np.zeros((0, 2), np.int64))

    def batches(self) -> Iterator[GraphBatch]:
        """As `GraphStore.batches`."""
        with self._database.reading() as connection:
            concepts = _concept_nodes(connection)
            edges: list[IsAEdge | RelationEdge] = [*_is_a_edges(connection), *_relation_edges(connection)]
        yield from concept_batches(concepts, edges)
        after = ""
        while page := self.images(after=after, limit=_PAGE):
            yield image_batch(page)
            after = page[-1].image_id

    def check(self) -> None:
        """As `GraphStore.check`; BrokenArtefact if the file is damaged."""
        if not self._database.path.exists():
            raise Unavailable(f"the graph store {self._database.path} was removed", hint="restore it and restart")
        self.images(limit=1)

    def close(self) -> None:
        """As `GraphStore.close`."""
        self._database.close()


def _json(values: Iterable[str | int]) -> str:
    return json.dumps(list(values), ensure_ascii=False)


def _concept_nodes(connection: sqlite3.Connection) -> list[ConceptNode]:
    rows = connection.execute("SELECT cui, name, semantic_types, source FROM concept ORDER BY cui")
    return [ConceptNode(cui, name, tuple(types.split()), source) for cui, name, types, source in rows]


def _is_a_edges(connection: sqlite3.Connection) -> list[IsAEdge]:
    rows = connection.execute(
        """
        SELECT child.cui, parent.cui, is_a.source
        FROM is_a JOIN concept AS child ON child = child.concept_key JOIN concept AS parent ON parent = parent.concept_key
        ORDER BY 1, 2
        """
    )
    return [IsAEdge(*row) for row in rows]


def _relation_edges(connection: sqlite3.Connection) -> list[RelationEdge]:
    rows = connection.execute(
        """
        SELECT subject.cui, relation, target.cui, relation.source
        FROM relation JOIN concept AS subject ON subject = subject.concept_key
                      JOIN concept AS target ON target = target.concept_key
        ORDER BY 1, 2, 3
        """
    )
    return [RelationEdge(*row) for row in rows]


def _relation_keys(connection: sqlite3.Connection) -> dict[str, Int64s]:
    """Subject key and target key of each edge, int64, [E, 2], by relation."""
    names = [name for (name,) in connection.execute("SELECT DISTINCT relation FROM relation")]
    wanted = "SELECT subject, target FROM relation WHERE relation = ?"
    return {name: _integers(connection.execute(wanted, [name]), 2) for name in names}


def _upsert_concepts(connection: sqlite3.Connection, concepts: Sequence[ConceptNode]) -> dict[str, int]:
    """Keys by CUI. The last name wins, but a concept of unknown name never takes a known one away."""
    rows = {(concept.cui, concept.name, " ".join(concept.semantic_types), concept.source) for concept in concepts}
    named = f"FROM concept WHERE cui IN {_GIVEN}"
    cuis = _json(concept.cui for concept in concepts)
    connection.executemany(
        """
        INSERT INTO concept (cui, name, semantic_types, source) VALUES (?, ?, ?, ?)
        ON CONFLICT (cui) DO UPDATE SET name = excluded.name, semantic_types = excluded.semantic_types, source = excluded.source
        WHERE excluded.name <> ''
        """,
        sorted(rows.difference(connection.execute(f"SELECT cui, name, semantic_types, source {named}", [cuis]))),
    )
    return dict(connection.execute(f"SELECT cui, concept_key {named}", [cuis]))


def _upsert_is_a(connection: sqlite3.Connection, edges: Sequence[IsAEdge], concept_keys: Mapping[str, int]) -> None:
    connection.executemany(
        """
        INSERT INTO is_a (child, parent, source) VALUES (?, ?, ?)
        ON CONFLICT DO UPDATE SET source = excluded.source WHERE excluded.source NOT IN ('', source)
        """,
        sorted((concept_keys[edge.child], concept_keys[edge.parent], edge.source) for edge in edges),
    )


def _upsert_relations(connection: sqlite3.Connection, edges: Sequence[RelationEdge], concept_keys: Mapping[str, int]) -> None:
    connection.executemany(
        """
        INSERT INTO relation (subject, relation, target, source) VALUES (?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET source = excluded.source WHERE excluded.source NOT IN ('', source)
        """,
        sorted((concept_keys[edge.subject], edge.relation, concept_keys[edge.target], edge.source) for edge in edges),
    )


def _conditions(wanted: Wanted) -> tuple[str, list[str | float]]:
    """SQL that narrows the images, and its parameters."""
    clauses, parameters = [], list[str | float]()
    for word in wanted.words:
        clauses.append("AND instr(lower_case(caption), ?) > 0")
        parameters.append(word.lower())
    if wanted.cui:
        clauses.append(f"AND {_HAS} AND concept_key = (SELECT concept_key FROM concept WHERE cui = ?))")
        parameters.append(wanted.cui)
    if wanted.score_below is not None:
        clauses.append(f"AND {_HAS} AND score < ?)")
        parameters.append(wanted.score_below)
    return " ".join(clauses), parameters


def _nodes(connection: sqlite3.Connection, where: str, parameters: Sequence[str | float]) -> list[ImageNode]:
    """The images that `where` selects, with their attributes."""
    images = connection.execute(
        f"SELECT image_key, image_id, caption, dataset, split, ingested_at FROM image WHERE {where}", parameters
    ).fetchall()
    edges: dict[int, list[AttributeEdge]] = {key: [] for key, *_ in images}
    rows = connection.execute(
        f"""
        SELECT image_key, cui, text, start, "end", score, rule, assertion, linker
        FROM attribute JOIN concept USING (concept_key) JOIN provenance USING (provenance_key)
        WHERE image_key IN {_GIVEN} ORDER BY image_key, start, "end", cui
        """,
        [_json(edges)],
    )
    for image_key, *edge in rows:
        edges[image_key].append(AttributeEdge(*edge))
    return [
        ImageNode(image_id, caption, tuple(edges[image_key]), dataset, split, ingested_at)
        for image_key, image_id, caption, dataset, split, ingested_at in images
    ]


def _insert(connection: sqlite3.Connection, images: Iterable[ImageNode], concept_keys: Mapping[str, int]) -> None:
    """Adds images that are not there."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    (first_key,) = connection.execute("SELECT coalesce(max(image_key), 0) + 1 FROM image").fetchone()
    keyed = list(enumerate(sorted(images, key=lambda image: image.image_id), first_key))
    connection.executemany(
        "INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(key, image.image_id, image.caption, caption_sha256(image.caption), image.dataset, image.split),
                image.ingested_at or now,
            )
            for key, image in keyed
        ],
    )
    provenance_keys = _provenance_keys(connection, (edge for _, image in keyed for edge in image.attributes))
    connection.executemany(
        "INSERT INTO attribute VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (key, edge.start, edge.end, concept_keys[edge.cui], edge.text, edge.score, provenance_keys[_provenance(edge)])
            for key, image in keyed
            for edge in image.attributes
        ],
    )
    _count_images(connection, [key for key, _ in keyed], +1)


def _provenance_keys(connection: sqlite3.Connection, edges: Iterable[AttributeEdge]) -> dict[tuple[str, str, str], int]:
    connection.executemany(
        "INSERT INTO provenance (linker, rule, assertion) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        sorted(set(map(_provenance, edges))),
    )
    rows = connection.execute("SELECT linker, rule, assertion, provenance_key FROM provenance")
    return {(linker, rule, assertion): key for linker, rule, assertion, key in rows}


def _delete(connection: sqlite3.Connection, image_ids: Sequence[str]) -> int:
    """Removes images and, over the foreign key, their attributes; returns how many there were."""
    keys = [key for (key,) in connection.execute(f"SELECT image_key FROM image WHERE image_id IN {_GIVEN}", [_json(image_ids)])]
    _count_images(connection, keys, -1)
    return connection.execute(f"DELETE FROM image WHERE image_key IN {_GIVEN}", [_json(keys)]).rowcount


def _count_images(connection: sqlite3.Connection, image_keys: Sequence[int], sign: int) -> None:
    """Adds the images to (+1), or takes them off (-1), the image count of each concept that is present in them."""
    connection.execute(
        f"""
        UPDATE concept SET image_count = image_count + ? * present.images
        FROM (SELECT concept_key AS key, count(DISTINCT image_key) AS images FROM attribute
              WHERE image_key IN {_GIVEN} AND {_PRESENT} GROUP BY concept_key) AS present
        WHERE concept_key = present.key
        """,
        [sign, _json(image_keys)],
    )


def _next_revision(connection: sqlite3.Connection, removed: int) -> None:
    """Counts a transaction that changes images, after it has done so."""
    connection.execute(
        """
        INSERT INTO revision SELECT (SELECT max(number) FROM revision) + 1, hex(randomblob(16)), coalesce(max(image_key), 0), ?
        FROM image
        """,
        [removed],
    )


def _last_key_if_none_removed(connection: sqlite3.Connection, since: Revision) -> int | None:
    """The highest image key of a former state, None if it is none or images were removed after it."""
    found = connection.execute(
        "SELECT last_key FROM revision WHERE number = ? AND token = ?", [since.number, since.token]
    ).fetchone()
    removed = connection.execute("SELECT 1 FROM revision WHERE number > ? AND removed > 0 LIMIT 1", [since.number]).fetchone()
    return found[0] if found and not removed else None


def _rows_above(
    connection: sqlite3.Connection, last_key: int, dataset: str | None, split: str | None
) -> tuple[list[tuple[int, str, str]], Int64s]:
    """Key, id and caption digest of the images with higher keys, of one dataset or split if given, and image key, concept key
    and provenance key of their present attributes, int64, [A, 3]."""
    wanted = {column: value for column, value in (("dataset", dataset), ("split", split)) if value is not None}
    where = " AND ".join(["image_key > ?", *(f"{column} = ?" for column in wanted)])
    given = [last_key, *wanted.values()]
    images = connection.execute(f"SELECT image_key, image_id, caption_sha256 FROM image WHERE {where}", given).fetchall()
    selected = f"AND image_key IN (SELECT image_key FROM image WHERE {where})" if wanted else ""
    attributes = connection.execute(
        f"SELECT image_key, concept_key, provenance_key FROM attribute WHERE image_key > ? AND {_PRESENT} {selected}",
        [last_key, *(given if wanted else [])],
    )
    return images, _integers(attributes, 3)


def _integers(rows: Iterable[tuple[int, ...]], columns: int) -> Int64s:
    """Rows of integers, [R, columns]; no list of them is made."""
    return np.fromiter(chain.from_iterable(rows), np.int64).reshape(-1, columns)


def _graph(
    connection: sqlite3.Connection,
    images: Sequence[tuple[int, str, str]],
    attribute_A3: Int64s,
    concepts: Iterable[tuple[int, str]],
    is_a_E2: Int64s,
    relations: Mapping[str, Int64s] | None = None,
) -> Graph:
    """As `assemble_graph`, with the state that the connection sees."""
    linkers = _linkers(connection, np.unique(attribute_A3[:, 2]).tolist())
    number, token = connection.execute("SELECT number, token FROM revision ORDER BY number DESC LIMIT 1").fetchone()
    graph = assemble_graph(images, concepts, attribute_A3[:, :2], is_a_E2, linkers, relations)
    return replace(graph, revision=Revision(number, token))


def _linkers(connection: sqlite3.Connection, provenance_keys: Sequence[int]) -> set[str]:
    rows = connection.execute(f"SELECT linker FROM provenance WHERE provenance_key IN {_GIVEN}", [_json(provenance_keys)])
    return {linker for (linker,) in rows}


def _path_of(url: str) -> Path:
    """That of a plain path, `embedded:///absolute/path` or `embedded://relative/path`."""
    path = url.removeprefix("embedded://")
    if not path:
        raise InvalidInput(f"no path in the graph store's address: {url!r}", hint="such as embedded:///var/lib/nbclip/graph.db")
    return Path(path).expanduser()


def _probe(url: str, access: Access) -> None:
    with closing(open_embedded(_path_of(url))) as store:
        store.check()


STORE = StoreKind(open=lambda url, access: open_embedded(_path_of(url)), probe=_probe, file=_path_of)
