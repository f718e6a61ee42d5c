"""What a release takes at least: its bytes read, its lines counted, the rows that count taken by polars and pyarrow.

python benchmarks/vocabulary/floors.py polars|pyarrow FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from kg_service.vocabulary.rrf import MRCONSO, MRREL, MRSTY, Layout

_COLUMNS = {
    "MRCONSO": "CUI LAT TS STT ISPREF SAB TTY STR SUPPRESS",
    "MRREL": "CUI1 REL CUI2 RELA SAB SUPPRESS",
    "MRSTY": "CUI TUI STY",
}


def by_polars(folder: Path) -> int:
    """Distinct kept names, rows that say is_a, distinct semantic types: filtered as the compiler does, nothing written."""
    import polars as pl

    def scan(layout: Layout) -> pl.LazyFrame:
        schema = dict.fromkeys([*layout.columns, "end"], pl.String)
        path = folder / f"{layout.stem}.RRF"
        rows = pl.scan_csv(path, separator="|", quote_char=None, has_header=False, schema=schema)
        return rows.select(_COLUMNS[layout.stem].split())

    kept = ~pl.col("SUPPRESS").is_in(["O", "E", "Y"])
    is_a = pl.col("RELA").is_in(["isa", "inverse_isa"]) | (pl.col("RELA").is_null() & pl.col("REL").is_in(["PAR", "CHD"]))
    names = scan(MRCONSO).filter((pl.col("LAT") == "ENG") & kept).select("CUI", "STR").unique()
    edges = scan(MRREL).filter(is_a & kept & (pl.col("CUI1") != pl.col("CUI2"))).select("CUI1", "CUI2", "SAB").unique()
    frames = (names, edges, scan(MRSTY).unique())
    return sum(frame.select(pl.len()).collect(engine="streaming").item() for frame in frames)


def by_pyarrow(folder: Path) -> int:
    """The columns parsed, block by block, nothing kept."""
    from pyarrow import csv

    rows = 0
    for layout in (MRCONSO, MRREL, MRSTY):
        reader = csv.open_csv(
            folder / f"{layout.stem}.RRF",
            csv.ReadOptions(column_names=[*layout.columns, "end"], block_size=8 << 20),
            csv.ParseOptions(delimiter="|", quote_char=False, escape_char=False),
            csv.ConvertOptions(include_columns=_COLUMNS[layout.stem].split(), strings_can_be_null=False),
        )
        rows += sum(batch.num_rows for batch in reader)
    return rows


if __name__ == "__main__":
    print({"polars": by_polars, "pyarrow": by_pyarrow}[sys.argv[1]](Path(sys.argv[2])))
