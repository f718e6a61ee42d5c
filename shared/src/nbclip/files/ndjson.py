"""Objects as JSON, one a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from pydantic_core import from_json

from nbclip.errors import InvalidInput
from nbclip.files.layout import Layout, Picker, extra_names, misspelt
from nbclip.files.lines import Line
from nbclip.files.notes import warn_of_misspelt
from nbclip.files.rows import Row, Values, row_of

AHEAD = 100
"""Rows that are looked at for the keys there are, before the first is given."""
_ONE_VALUE = re.compile(r"\s*(\[\s*(\{.*)?|\{)\s*", re.DOTALL)
ONE_VALUE = "one JSON value, not an object a line"
AN_OBJECT_A_LINE = "write an object a line (.ndjson): jq -c '.[]' FILE > NEW.ndjson"
_KEY_SETS = 1_000
"""Sets of keys for which it is remembered which of them are fields."""


class ObjectReader:
    """Takes the fields out of objects, whose keys may differ from one to the next.

    Args:
        file: where they stand.
        layout: how they are read.
        first: the first of them, which have all keys that are chosen or required.

    Raises:
        InvalidInput: they lack a key.
    """

    def __init__(self, file: str, layout: Layout, first: Sequence[Mapping[str, Any]]) -> None:
        self._file, self._layout = file, layout
        names = list(dict.fromkeys(name for each in first for name in _names(each)))
        found = layout.recipes(names, file)
        if first and layout.lacking(found):
            raise layout.refuse(file, layout.lacking(found), names, _on_lists(first))
        self._chosen = {name: recipe for name, recipe in found.items() if name in layout.columns}
        self._pickers: dict[tuple[str, ...], Picker[str]] = {}
        self._told: set[str] = set()

    def pick(self, number: int, values: Mapping[str, Any]) -> Values:
        """The values of an object by field, as they stand.

        Raises:
            InvalidInput: it has a key that looks misspelt, and such are refused.
        """
        keys = tuple(values)
        picker = self._pickers.get(keys)
        if picker is None:
            if len(self._pickers) >= _KEY_SETS:
                self._pickers.clear()
            picker = self._pickers[keys] = self._picker(number, keys)
        return picker.pick(lambda name: _value(values, name))

    def _picker(self, number: int, keys: Sequence[str]) -> Picker[str]:
        plain = Layout(self._layout.fields)
        recipes = plain.recipes(keys, self._file) | self._chosen
        like = misspelt(keys, recipes, self._layout.fields)
        if like and self._layout.refuse_misspelt:
            key, field = next(iter(like.items()))
            raise InvalidInput(f"misspelt key: {key!r}, for {field}?")
        warn_of_misspelt(f"{self._file}:{number}", {name: field for name, field in like.items() if name not in self._told})
        self._told |= like.keys()
        return Picker(recipes, extra_names(keys, recipes) if self._layout.extras else (), str)


def is_one_value(text: str) -> bool:
    """Whether a file with this first line is an array of objects, or an object over several lines."""
    return _ONE_VALUE.fullmatch(text) is not None


def read_ndjson(file: str, lines: Iterator[Line], layout: Layout) -> Iterator[Row]:
    """The rows of a file of objects; errors as `read_objects`."""
    for number, values in read_objects(file, lines, layout):
        yield Row(file, number, {}, values) if isinstance(values, str) else row_of(file, number, values)


def read_objects(file: str, lines: Iterator[Line], layout: Layout) -> Iterator[tuple[int, Values | str]]:
    """Line and values by field of each object, as they stand, or what is wrong with it.

    Raises:
        InvalidInput: the file is one array or object; the first objects lack a key that is required, or that was chosen.
    """
    parsed = _parsed(file, lines)
    ahead = list(islice(parsed, AHEAD))
    reader = ObjectReader(file, layout, [value for _, value in ahead if not isinstance(value, str)])
    for number, value in chain(ahead, parsed):
        try:
            picked = value if isinstance(value, str) else reader.pick(number, value)
        except InvalidInput as error:
            picked = error.message
        yield number, picked


def object_of(content: str | bytes) -> dict[str, Any] | str:
    """The object that a text is, or what is wrong with it."""
    try:
        value = from_json(content)
    except ValueError as error:
        return f"not JSON: {error}"
    return value if isinstance(value, dict) else f'not an object, such as {{"caption":"…"}}: {str(content)[:40]}'


def _parsed(file: str, lines: Iterable[Line]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for place, line in enumerate(line for line in lines if line.problem or line.text.strip()):
        if not place and is_one_value(line.text):
            raise InvalidInput(f"{file}: {ONE_VALUE}", hint=AN_OBJECT_A_LINE)
        yield line.number, line.problem or object_of(line.text)


def _on_lists(objects: Sequence[Mapping[str, Any]]) -> str:
    """A hint where the only object holds others in lists, as COCO's annotations do; else empty."""
    lists = [name for name, value in objects[0].items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(objects) > 1 or not lists:
        return ""
    return f"its {lists[0]} is a list of objects: write these an object a line, with all fields: jq -c '.{lists[0]}[]' FILE"


def _names(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The keys of an object, and of those within it: `image`, `image.path`."""
    for name, value in values.items():
        yield before + name
        if isinstance(value, dict):
            yield from _names(value, f"{before}{name}.")


def _value(values: Mapping[str, Any], name: str) -> Any:
    """The value of a key, or within an object; None if there is none."""
    if name in values or "." not in name:
        return values.get(name)
    key, _, rest = name.partition(".")
    within = values.get(key)
    return _value(within, rest) if isinstance(within, dict) else None
