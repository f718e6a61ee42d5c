"""Files of captions in three formats, and a batch of them."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.batches import planned, small_vocabulary, some_rows


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    return small_vocabulary(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture
def files(tmp_path):
    """A table, objects and Parquet with row groups, whose ids overlap."""
    rows = some_rows(90)
    table, objects, parquet = tmp_path / "a.csv", tmp_path / "b.ndjson", tmp_path / "c.parquet"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows[:40])
        file.write('never closed,"\nx,y\n')
    objects.write_text("".join(f"{json.dumps(row)}\n" for row in rows[30:60]) + "no object\n")
    pq.write_table(pa.Table.from_pylist(rows[50:]), parquet, row_group_size=7)
    return [table, objects, parquet]


@pytest.fixture
def batch(tmp_path, vocabulary, files):
    """A batch and its plan, of shards of five rows."""
    return planned(tmp_path / "work", vocabulary, files)
