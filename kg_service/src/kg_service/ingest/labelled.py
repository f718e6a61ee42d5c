"""Files of labelled captions, for fitting and scoring a linker.

    csv, tsv    columns caption and cuis; other columns are ignored. An empty cell says that there is no concept
    roco        `ID<TAB>caption` with a companion file of CUIs (`ReadOptions.cuis`); csv and tsv may have one too
    ndjson      `{"caption": …, "cuis": [CUI, …]}` or `{"caption": …, "spans": [[start, end, [CUI, …]], …]}`; start and end are
                code points, end exclusive. A span without a CUI is not judged. `text` may stand for `caption`

A row that can't be used is yielded as a BadRow, and reading continues after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from nbclip.errors import InvalidId, InvalidInput
from nbclip.ids import Cui, check_cui
from nbclip.schemas.base import MAX_CAPTION_CHARACTERS
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from kg_service.ingest.lines import TextFile
from kg_service.ingest.readers import ReadOptions, format_of, read_companion, reason, records, split_cuis
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


def read_labelled(source: TextFile, options: ReadOptions) -> Iterator[LabelledCaption | BadRow]:
    """Yields the captions of a file in order, bad rows of the companion file first.

    Raises:
        InvalidInput: the format is not known, the header lacks a column, there are no labels, or the file breaks off.
    """
    kind = options.format or format_of(source.path)
    if kind == "roco" and options.cuis is None:
        raise InvalidInput(f"{source.path}: ROCO's captions have no labels", hint="give its companion file: --cuis cuis.txt")
    if kind == "ndjson" and options.cuis is not None:
        raise InvalidInput("NDJSON has its labels in its lines", hint="leave --cuis out")
    companion: dict[str, list[str]] | None = None
    if options.cuis is not None:
        companion = {}
        with TextFile(options.cuis) as cuis:
            yield from read_companion(cuis, companion)
    required = ("caption", "cuis") if companion is None else ("image_id", "caption")
    for record in records(source, kind, options.columns, required):
        problem = record.problem
        if not problem:
            try:
                yield _labelled(record.values, companion)
                continue
            except ValidationError as error:
                problem = reason(error)
            except InvalidId as error:
                problem = error.message
            except LookupError as error:
                problem = f"no labels: {error} is not in the companion file"
        yield BadRow(str(source.path), record.line, problem)


def _labelled(values: Mapping[str, Any], companion: Mapping[str, list[str]] | None) -> LabelledCaption:
    """The caption; raises ValidationError, InvalidId or LookupError (an image that the companion file lacks)."""
    if "json" in values:
        label = _Label.model_validate_json(values["json"])
        spans = tuple((start, end, frozenset(cuis)) for start, end, cuis in label.spans or ())
        cuis = frozenset(cui for *_, found in spans for cui in found) | frozenset(label.cuis or ())
        return LabelledCaption(label.caption, spans, cuis, label.spans is not None)
    given = companion[values["image_id"].strip()] if companion is not None else split_cuis(values["cuis"])
    label = _Label(caption=values["caption"].strip(), cuis=[check_cui(cui) for cui in given])
    return LabelledCaption(label.caption, cuis=frozenset(label.cuis or ()))
