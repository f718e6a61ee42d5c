"""Rows: their place, their values by field, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from nbclip.errors import InvalidId
from nbclip.files.layout import ALIASES, LABEL_FIELDS
from nbclip.ids import check_cui, check_image_id
from nbclip.schemas.base import MAX_CAPTION_CHARACTERS, has_text, is_nan

MAX_BAD_ROW_SHARE = 0.05
"""Greatest share of rows that both programs leave out by default: three or four reports in a hundred have neither findings nor
impression."""
Values = dict[str, Any]
_MAY_BE_MISSING = ("caption", *LABEL_FIELDS)
_CUI_SEPARATORS = re.compile(r"""[\s;|,\[\]'"]+""")
_EMPTY_LIST = re.compile(r"\s*\[\s*\]\s*")
"""As pandas writes one into a table."""
_KINDS = {dict: "an object", list: "a list", bool: "true or false", int: "a number", float: "a number", bytes: "bytes"}


class Row(NamedTuple):
    """A row of a file.

    Attributes:
        file: where it stands.
        number: its first line, or in Parquet its row and in a shard its pair; counted from 1.
        values: by field, text stripped and None where there is none; `cuis` is a list where the file has CUIs for the row.
        problem: why it can't be used; empty if it can, as far as the reader knows.
    """

    file: str
    number: int
    values: Values
    problem: str = ""


def row_of(file: str, number: int, values: Values) -> Row:
    """A row of values as they stand in the file; changes `values`."""
    problem = ""
    for name, value in values.items():
        if value.__class__ is str:
            values[name] = value.strip() or None
        elif value is not None and name != "cuis":
            misfit = _is_misfit(name, value)
            values[name] = None if misfit else as_text(value)
            if misfit:
                problem = problem or f"{name} is {_KINDS.get(type(value), type(value).__name__)}, not text"
    for name in _MAY_BE_MISSING:
        if (value := values.get(name)) is not None and not has_text(value):
            values[name] = None
    if values.get("cuis") is not None:
        try:
            values["cuis"] = cuis_of(values["cuis"])
        except InvalidId as error:
            values["cuis"], problem = None, problem or error.message
    return Row(file, number, values, problem)


def problem_of(row: Row, needed: Iterable[str]) -> str:
    """Why a row can't be used by a program that needs its id and these fields; empty if it can."""
    if row.problem:
        return row.problem
    values = row.values
    image_id = values.get("image_id")
    if not image_id:
        return "empty image_id"
    try:
        check_image_id(image_id)
    except InvalidId as error:
        return error.message
    empty = next((name for name in needed if not values.get(name)), None)
    return f"empty {empty}: image {image_id}" if empty else _caption_problem(values.get("caption") or "")


def as_text(value: Any) -> str | None:
    """A value as a table would have it; None where a table has no such: structures, and what is missing."""
    if isinstance(value, list | tuple):
        return " ".join(text for each in value if (text := as_text(each)) is not None) or None
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, dict | bytes) or is_nan(value):
        return None
    return str(value).strip() or None


def cuis_of(value: Any) -> list[str] | None:
    """CUIs of a text or list; none of an empty list: no concept. None for a text without any, which says nothing.

    Raises:
        InvalidId: one is none.
    """
    if isinstance(value, str):
        found = [check_cui(cui) for cui in split_cuis(value)] if has_text(value) else []
        return found or ([] if _EMPTY_LIST.fullmatch(value) else None)
    if isinstance(value, list):
        return [check_cui(cui) for each in value for cui in split_cuis(str(each))]
    return [check_cui(str(value))] if has_text(value) else None


def split_cuis(text: str) -> list[str]:
    """CUIs separated by white space, commas, semicolons or bars; a list as Python writes it will do."""
    return [cui for cui in _CUI_SEPARATORS.split(text) if cui]


def kind_of(problem: str) -> str:
    """A problem without what is particular to its row, to count rows by."""
    return re.sub(r"(?<![\w-])\d+", "N", problem.split(": ")[0])


def _is_misfit(name: str, value: object) -> bool:
    """Whether a value that is no text can't stand for a field: a caption is a text, and no field is a structure."""
    if name == "caption":
        return not is_nan(value)
    return name in ALIASES and isinstance(value, dict | bytes)


def _caption_problem(caption: str) -> str:
    if len(caption) > MAX_CAPTION_CHARACTERS:
        return f"caption of {len(caption)} characters, over {MAX_CAPTION_CHARACTERS}"
    return "NUL in the caption" if "\0" in caption else ""
