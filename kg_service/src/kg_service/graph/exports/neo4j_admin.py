"""A graph as CSV files that `neo4j-admin database import full` takes: the fast way into a Neo4j server that is empty.

`cypher/schema.cypher` is the schema. The constraints are missing from what is imported; the store makes them when it is first
used. CSV rather than Parquet: of the latter, Neo4j Community 5.26.30 as Maven has it lacks a class (`com.ctc.wstx`).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
from nbclip.ids import caption_sha256
from pyarrow.csv import CSVWriter, WriteOptions

from kg_service.graph.exports.tables import OnImages, Table, write_tables
from kg_service.graph.neo4j.rows import attribute_key, relation_key
from kg_service.graph.neo4j.schema import SCHEMA_VERSION
from kg_service.graph.store import GraphBatch, GraphCounts, GraphSource

_REVISION = 1
# The unit separator, which no semantic type holds.
_ARRAY_DELIMITER = "\x1f"
_SCRIPT = r"""#!/bin/sh
# Imports this graph into the database neo4j of a Neo4j server, 5.26 or later, that is stopped:
#
#   sh import.sh NEO4J_ADMIN [OPTION…]
#
# NEO4J_ADMIN is bin/neo4j-admin of the server. --overwrite-destination=true is needed where the server has run before, and
# deletes what its database holds. Other options are those of `neo4j-admin database import full`.
set -eu
admin=$(command -v "${1:?neo4j-admin of the server is missing}") || { echo "error: there is no $1" >&2; exit 2; }
admin=$(realpath "$admin")
shift
# Relative names, since neo4j-admin reads some characters of a path as a pattern; newer releases than 5 refuse them without `./`.
cd "$(dirname "$0")"
exec "$admin" database import full \
  --nodes=Image=./images.csv --nodes=Concept=./concepts.csv --nodes=GraphState=./state.csv \
  --relationships=HAS_ATTRIBUTE=./has_attribute.csv --relationships=IS_A=./is_a.csv --relationships=./relations.csv \
  --array-delimiter=U+001F --multiline-fields=true --multiline-fields-format=v1 \
  --bad-tolerance=0 --report-file="${TMPDIR:-/tmp}/import.report" "$@" neo4j
"""


def export_neo4j_admin(source: GraphSource, folder: Path, *, on_images: OnImages = lambda images: None) -> GraphCounts:
    """Writes the files and `import.sh`, which imports them; arguments, result and errors as `write_tables`.

    What is imported is a graph with an identity of its own, of one write transaction.
    """
    texts = {"state.csv": _state(), "import.sh": _SCRIPT}
    return write_tables(source, folder, _TABLES, _open, more_files=texts, on_images=on_images)


def import_commands(folder: Path) -> dict[str, str]:
    """The shell commands that import the files of `folder`, by the kind of installation."""
    files = shlex.quote(str(folder.resolve()))
    volumes = f"--volume VOLUME:/data --volume {files}:/graph:ro"
    return {
        "tarball": f"sh {files}/import.sh NEO4J_HOME/bin/neo4j-admin",
        "Docker": f"docker run --rm {volumes} neo4j:5.26-community sh /graph/import.sh neo4j-admin",
    }


def _state() -> str:
    header = '"name:ID(GraphState)","graph_id","schema_version:long","revision:long"'
    return f'{header}\n"graph","{uuid4()}",{SCHEMA_VERSION},{_REVISION}\n'


def _image_rows(batch: GraphBatch) -> Iterator[tuple[Any, ...]]:
    for image in batch.images:
        yield (
            *(image.image_id, image.image_id, image.caption, caption_sha256(image.caption), image.dataset, image.split),
            *(image.ingested_at, _REVISION),
        )


def _concept_rows(batch: GraphBatch) -> Iterator[tuple[Any, ...]]:
    for concept in batch.concepts:
        yield concept.cui, concept.name, _ARRAY_DELIMITER.join(concept.semantic_types), concept.source, _REVISION


def _attribute_rows(batch: GraphBatch) -> Iterator[tuple[Any, ...]]:
    for image in batch.images:
        for edge in image.attributes:
            yield (
                *(image.image_id, edge.cui, attribute_key(image.image_id, edge), edge.text, edge.start, edge.end, edge.score),
                *(edge.rule, edge.assertion, edge.linker),
            )


def _is_a_rows(batch: GraphBatch) -> Iterator[tuple[Any, ...]]:
    for edge in batch.is_a:
        yield edge.child, edge.parent, f"{edge.child} {edge.parent}", edge.source


def _relation_rows(batch: GraphBatch) -> Iterator[tuple[Any, ...]]:
    for edge in batch.relations:
        yield edge.subject, edge.relation, edge.target, relation_key(edge), edge.source


def _table(rows: Callable[[GraphBatch], Iterator[tuple[Any, ...]]], header: str) -> Table:
    """A table whose columns are named as the importer has them: with their types, and `ID(…)` for what names a node."""
    types = {"long": pa.int64(), "double": pa.float64()}
    return Table(pa.schema([(column, types.get(column.partition(":")[2], pa.string())) for column in header.split()]), rows)


_TABLES = {
    "images.csv": _table(_image_rows, "image_id:ID(Image) name caption caption_sha256 dataset split ingested_at revision:long"),
    "concepts.csv": _table(_concept_rows, "cui:ID(Concept) name semantic_types:string[] source revision:long"),
    "has_attribute.csv": _table(
        _attribute_rows,
        ":START_ID(Image) :END_ID(Concept) key text start:long end:long score:double rule assertion linker",
    ),
    "is_a.csv": _table(_is_a_rows, ":START_ID(Concept) :END_ID(Concept) key source"),
    "relations.csv": _table(_relation_rows, ":START_ID(Concept) :TYPE :END_ID(Concept) key source"),
}


def _open(path: Path, schema: pa.Schema) -> CSVWriter:
    # Texts in quotes, also an empty one; nothing at all for null: the importer tells them apart so.
    return CSVWriter(path, schema, write_options=WriteOptions(quoting_style="needed"))
