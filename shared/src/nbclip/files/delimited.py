"""Tables with a header and a separator, quoting as in RFC 4180; and ROCO's `ID<TAB>caption`, without header or quoting."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from itertools import chain

from nbclip.errors import InvalidInput
from nbclip.files.layout import Layout, Picker, extra_names, misspelt, nearest
from nbclip.files.lines import AS_UTF_8, NOT_UTF_8, Line
from nbclip.files.notes import warn_of_doubled, warn_of_misspelt
from nbclip.files.rows import Row, row_of

SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "bar": "|"}
_SPELT = {"\\t": "\t", "pipe": "|"}
_SAID = re.compile(r'"?sep=([,;|\t])"?', re.IGNORECASE)
_MAX_RECORD_LINES = 1_000
_NAMES_FIRST = "the first line must name the columns"
_OTHER_NUMBER = "wrong number of fields: {} where the header has {}"


def separator_of(text: str) -> str:
    """The separator that a user means, by its name or as it is.

    Raises:
        InvalidInput: it is none of `SEPARATORS`.
    """
    known = SEPARATORS | _SPELT | {each: each for each in SEPARATORS.values()}
    if text not in known:
        raise InvalidInput(f"no such separator: {text!r}", hint=f"one of {', '.join(SEPARATORS)}")
    return known[text]


def name_of(separator: str) -> str:
    """The name of a separator."""
    return next(name for name, each in SEPARATORS.items() if each == separator)


def read_table(file: str, lines: Iterator[Line], layout: Layout, usual: str) -> Iterator[Row]:
    """The rows of a table.

    Args:
        file: its name.
        lines: its lines.
        layout: how it is read.
        usual: the separator if the header leaves it open.

    Raises:
        InvalidInput: there is no header, or it lacks a column.
    """
    ahead = _without_blank(lines)
    first = next(ahead, None)
    said = said_separator(first)
    first = next(ahead, None) if said else first
    if first is None:
        raise InvalidInput(f"{file}: no header", hint="the first line names the columns")
    chosen = layout.separator or said
    separator = separator_of(chosen) if chosen else _told(first.text, layout, usual)
    rows = records(chain([first], lines), separator, padded=f'{separator} "' in first.text)
    _, header = next(rows, (1, first.problem))
    if isinstance(header, str):
        raise _no_header(file, header, layout)
    place = f"{file}:{first.number}"
    if not _fits(header, layout):
        raise _refused(place, header, first.text, separator, layout)
    recipes = layout.recipes(header, place)
    picker = Picker(recipes, extra_names(header, recipes) if layout.extras else (), header.index)
    warn_of_doubled(place, header)
    warn_of_misspelt(place, misspelt(header, recipes, layout.fields))
    for number, fields in rows:
        if isinstance(fields, str):
            yield Row(file, number, {}, fields)
        elif len(fields) != len(header):
            yield Row(file, number, {}, _OTHER_NUMBER.format(len(fields), len(header)))
        else:
            yield row_of(file, number, picker.pick(fields.__getitem__))


def read_roco(file: str, lines: Iterator[Line]) -> Iterator[Row]:
    """The rows of ROCO's `captions.txt`."""
    for line in lines:
        image_id, tab, caption = line.text.rstrip("\r\n").partition("\t")
        if line.problem or tab:
            yield row_of(file, line.number, {"image_id": image_id, "caption": caption})._replace(problem=line.problem)
        elif image_id.strip():
            yield Row(file, line.number, {}, "no tab between image id and caption")


def said_separator(line: Line | None) -> str | None:
    """The separator that Excel writes into a line before the header (`sep=;`), as it is."""
    said = _SAID.fullmatch(line.text.rstrip("\r\n")) if line else None
    return said[1] if said else None


def is_table(line: Line, layout: Layout) -> bool:
    """Whether a line is the header of a table that has what is required."""
    return bool(said_separator(line)) or any(_fits(split(line.text, separator), layout) for separator in SEPARATORS.values())


def split(line: str, separator: str) -> list[str]:
    """The fields of a line; none if it is no row of its own."""
    try:
        return next(csv.reader([line], delimiter=separator, strict=True, skipinitialspace=True), [])
    except csv.Error:
        return []


def records(lines: Iterator[Line], separator: str, *, padded: bool = False) -> Iterator[tuple[int, list[str] | str]]:
    """First line and fields of each row, or what is wrong with it; blank lines are left out.

    Padded is a table with a space between separators and quotes (`a, "b"`).

    A row with an unclosed quote is given up at its first line and reading goes on at the next one, so that it takes no good
    row with it.
    """
    ahead: deque[Line] = deque()
    while True:
        taken: list[Line] = []
        try:
            text = _record_lines(ahead, lines, taken)
            fields = next(csv.reader(text, delimiter=separator, strict=True, skipinitialspace=padded))
        except StopIteration:
            return
        except csv.Error as error:
            ahead.extendleft(reversed(taken[1:]))
            yield taken[0].number, f"not a row of fields: {error}"
            continue
        if taken[0].problem:
            yield taken[0].number, taken[0].problem
        elif fields:
            yield taken[0].number, fields


def _record_lines(ahead: deque[Line], lines: Iterator[Line], taken: list[Line]) -> Iterator[str]:
    """The text of the lines of one row, noted in `taken`; ends before a damaged line, which is a row of its own."""
    while len(taken) < _MAX_RECORD_LINES:
        line = ahead.popleft() if ahead else next(lines, None)
        if line is None:
            return
        if line.problem and taken:
            ahead.appendleft(line)
            return
        taken.append(line)
        yield line.text


def _without_blank(lines: Iterator[Line]) -> Iterator[Line]:
    return (line for line in lines if line.problem or line.text.strip())


def _told(header: str, layout: Layout, usual: str) -> str:
    """The separator under which a header has what is required, else that of most columns."""
    found = {separator: split(header, separator) for separator in SEPARATORS.values()}
    fitting = [separator for separator, names in found.items() if _fits(names, layout)]
    return max(fitting or found, key=lambda separator: (len(found[separator]), separator == usual))


def _fits(header: list[str], layout: Layout) -> bool:
    try:
        return not layout.lacking(layout.recipes(header, ""))
    except InvalidInput:
        return False


def _no_header(file: str, problem: str, layout: Layout) -> InvalidInput:
    hint = f"{_NAMES_FIRST}; of ID, tab and caption say {layout.spelling.format.format(name='roco')}"
    return InvalidInput(f"{file}: no header: {problem}", hint=AS_UTF_8 if problem.startswith(NOT_UTF_8) else hint)


def _refused(place: str, header: list[str], line: str, separator: str, layout: Layout) -> InvalidInput:
    """The error of a header that lacks a column; its hint is another separator where that has them all."""
    fitting = [each for each in SEPARATORS.values() if _fits(split(line, each), layout)]
    headless = f"a file of ID, tab and caption has no header: {layout.spelling.format.format(name='roco')}"
    if fitting:
        told = layout.spelling.separator.format(name=name_of(fitting[0]))
        hint = f"its columns are separated by {name_of(fitting[0])}, not {name_of(separator)}: {told}"
        return layout.refuse(place, layout.required, header, hint)
    if len(header) == 1:
        return layout.refuse(place, layout.required, header, f"{_NAMES_FIRST}, separated by {', '.join(SEPARATORS)}; {headless}")
    lacking = layout.refuse(place, layout.lacking(layout.recipes(header, place)), header)
    hint = lacking.hint if any(nearest(name, header) for name in layout.required) else f"{_NAMES_FIRST}; {lacking.hint}"
    return InvalidInput(lacking.message, hint=f"{hint}; {headless}" if separator == "\t" else hint)
