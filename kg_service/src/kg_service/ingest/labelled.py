"""Files of labelled captions, for fitting and scoring a linker.

    tables      columns caption and cuis; other columns are ignored. An empty cell says that there is no concept
    roco        `ID<TAB>caption` with a companion file of CUIs (`ReadOptions.cuis`); tables may have one too
    ndjson      `{"caption": …, "cuis": [CUI, …]}` or `{"caption": …, "spans": [[start, end, [CUI, …]], …]}`; start and end are
                code points, end exclusive. A span without a CUI is not judged. `text` may stand for `caption`

A row that can't be used is yielded as a BadRow, and reading continues after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from nbclip.errors import InvalidInput
from nbclip.files.lines import TextFile
from nbclip.files.ndjson import read_objects
from nbclip.files.reading import Rows
from nbclip.files.sources import format_of
from nbclip.ids import Cui
from nbclip.schemas.base import MAX_CAPTION_CHARACTERS
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from kg_service.ingest.readers import ReadOptions, bad_row, companion_of, reason
from kg_service.linking.fitting.evaluation import LabelledCaption
from kg_service.vocabulary.model import BadRow


class _Label(BaseModel):
    """A line of NDJSON. Unknown fields are ignored; `cuis` beside spans must match them."""

    model_config = ConfigDict(extra="ignore")

    caption: str = Field(max_length=MAX_CAPTION_CHARACTERS, validation_alias=AliasChoices("caption", "text"))
    cuis: list[Cui] | None = None
    spans: list[tuple[int, int, list[Cui]]] | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.spans is None:
            if self.cuis is None:
                raise ValueError("neither cuis nor spans")
            return self
        for start, end, _ in self.spans:
            if not 0 <= start < end <= len(self.caption):
                raise ValueError(f"span {start} to {end} is not within the {len(self.caption)} characters of the caption")
        if self.cuis is not None and set(self.cuis) != {cui for *_, cuis in self.spans for cui in cuis}:
            raise ValueError("cuis are not those of the spans")
        return self


def read_labelled(path: Path, options: ReadOptions) -> Iterator[LabelledCaption | BadRow]:
    """Yields the captions of a file in order, bad rows of the companion file first.

    Raises:
        InvalidInput: the format is not known, the header lacks a column, there are no labels, or the file breaks off.
    """
    kind = options.format or format_of(path)
    if kind == "roco" and options.cuis is None:
        raise InvalidInput(f"{path}: ROCO's captions have no labels", hint="give its companion file: --cuis cuis.txt")
    if kind == "ndjson" and options.cuis is not None:
        raise InvalidInput("NDJSON has its labels in its lines", hint="leave --cuis out")
    if kind == "ndjson":
        yield from _objects(path, options)
        return
    required = ("caption", "cuis") if options.cuis is None else ("image_id", "caption")
    rows = Rows([path], options.layout(required))
    companion: dict[str, list[str]] | None = None
    if options.cuis is not None:
        companion, bad = companion_of(rows, options.cuis, "and have no labels")
        yield from bad
    for row in rows:
        image_id = row.values.get("image_id")
        if row.problem:
            yield bad_row(row, row.problem)
        elif companion is not None and image_id not in companion:
            yield bad_row(row, f"no labels: {image_id!r} is not in the companion file")
        else:
            cuis = row.values.get("cuis") if companion is None else companion[str(image_id)]
            yield _labelled(row.file, row.number, {"caption": row.values["caption"] or "", "cuis": cuis or []})


def _objects(path: Path, options: ReadOptions) -> Iterator[LabelledCaption | BadRow]:
    """Captions as they stand, which spans count in."""
    with TextFile(path) as source:
        for number, values in read_objects(str(path), iter(source), options.layout((), extras=True)):
            yield BadRow(str(path), number, values) if isinstance(values, str) else _labelled(str(path), number, values)


def _labelled(file: str, number: int, values: dict[str, Any]) -> LabelledCaption | BadRow:
    try:
        label = _Label.model_validate(values)
    except ValidationError as error:
        return BadRow(file, number, reason(error))
    spans = tuple((start, end, frozenset(cuis)) for start, end, cuis in label.spans or ())
    cuis = frozenset(cui for *_, found in spans for cui in found) | frozenset(label.cuis or ())
    return LabelledCaption(label.caption, spans, cuis, label.spans is not None)
