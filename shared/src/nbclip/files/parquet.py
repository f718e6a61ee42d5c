"""Parquet, one row group after another, and of these only the columns that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from nbclip.errors import InvalidInput
from nbclip.files.addresses import Location
from nbclip.files.foreign import way_out
from nbclip.files.layout import LABEL_FIELDS, Layout, Picker, Recipe, extra_names, misspelt
from nbclip.files.lines import Span
from nbclip.files.notes import warn_of_doubled, warn_of_misspelt
from nbclip.files.pictures import opened_parquet, place_in_parquet
from nbclip.files.rows import Row, row_of

_BATCH_ROWS = 1_000
_UNREADABLE = b"not UTF-8"
_LISTS = frozenset({"cuis", *LABEL_FIELDS})
"""Fields that may have several values in a row."""


def read_parquet(path: Location, layout: Layout, done: Callable[[float], None], span: Span | None = None) -> Iterator[Row]:
    """The rows of a Parquet file; `number` counts rows over all row groups, and `file` may be a place within the file.

    Args:
        path: the file.
        layout: how it is read.
        done: told what share of it is read, in [0, 1].
        span: the rows to read; default: all.

    Raises:
        InvalidInput: it is no Parquet file, is damaged, lacks a column, or has something else where text must be.
    """
    with _opened(path) as file:
        yield from _rows(path, file, layout, done, span)


def rows_in_parquet(path: Location) -> int:
    """How many rows a Parquet file says that it has; raises InvalidInput if it is none."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def chunks_in_parquet(path: Location, layout: Layout, span: Span) -> list[tuple[int, int]]:
    """Where a span's values lie: first byte and length of each column that is read, of each row group that has rows of it.

    Raises:
        InvalidInput: as `read_parquet`.
    """
    with _opened(path) as file:
        read = {name.split(".")[0] for name in _columns(path, file, layout).read}
        groups = [file.metadata.row_group(group) for group, _ in _groups(file, span)]
        columns = [group.column(place) for group in groups for place in range(group.num_columns)]
        chunks = [column for column in columns if column.path_in_schema.split(".")[0] in read]
        # The dictionary, if there is one, lies before the values.
        starts = [min(filter(None, (each.dictionary_page_offset, each.data_page_offset))) for each in chunks]
        return [(start, each.total_compressed_size) for start, each in zip(starts, chunks, strict=True)]


@contextmanager
def _opened(path: Location) -> Iterator[Any]:
    try:
        with opened_parquet(path) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        why = f"{str(error).splitlines()[0]:.200}"
        raise InvalidInput(f"{path}: not a Parquet file: {why}", hint=way_out(path, "was it cut off?")) from error


class _Columns(NamedTuple):
    """Which columns are read of a file, and what of.

    `images` is that of images in the file itself.
    """

    recipes: dict[str, Recipe]
    extras: list[str]
    images: str | None
    read: list[str]


def _columns(path: Location, file: Any, layout: Layout) -> _Columns:
    names, types = file.schema_arrow.names, _types(file.schema_arrow)
    recipes = layout.recipes([*names, *(name for name in types if name not in names)], str(path))
    if layout.lacking(recipes):
        raise layout.refuse(str(path), layout.lacking(recipes), list(types))
    warn_of_doubled(str(path), names)
    warn_of_misspelt(str(path), misspelt(names, recipes, layout.fields))
    extras = [name for name in extra_names(names, recipes) if _is_plain(types[name])] if layout.extras else []
    images = _images(recipes, types)
    _check_types(path, recipes, types)
    read = sorted({name for recipe in recipes.values() for each in recipe for name in each} | set(extras))
    return _Columns(recipes, extras, images, read)


def _rows(path: Location, file: Any, layout: Layout, done: Callable[[float], None], span: Span | None) -> Iterator[Row]:
    recipes, extras, images, read = _columns(path, file, layout)
    picker = Picker(recipes, extras, str)
    for group, number in _groups(file, span):
        inside = images is not None and _has_values(file, group, images)
        for batch in file.iter_batches(_BATCH_ROWS, [group], read, use_threads=False):
            columns = [_values(_column(batch, name)) for name in read]
            done((number + batch.num_rows) / file.metadata.num_rows)
            for cells in zip(*columns, strict=True):
                number += 1
                values = picker.pick(dict(zip(read, cells, strict=True)).__getitem__)
                if inside:
                    values["file"] = place_in_parquet(path, str(images), number - 1)
                yield _row(str(path), number, values)


def _groups(file: Any, span: Span | None) -> Iterator[tuple[int, int]]:
    """The row groups that have rows of a span, and how many rows stand before each."""
    before = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if span is None or (before + rows >= span.first and before + 1 < span.stop):
            yield group, before
        before += rows


def _row(file: str, number: int, values: dict[str, Any]) -> Row:
    unreadable = [name for name, value in values.items() if value is _UNREADABLE]
    row = row_of(file, number, {name: None if name in unreadable else value for name, value in values.items()})
    return row._replace(problem=f"not UTF-8: {unreadable[0]}") if unreadable else row


def _types(fields: Any, before: str = "") -> dict[str, Any]:
    """Columns and their types, with those within structures: `image`, `image.path`; of several of one name the first."""
    found: dict[str, Any] = {}
    for each in fields:
        name = before + each.name
        if name not in found:
            found[name] = each.type
            found |= _types(each.type, f"{name}.") if pa.types.is_struct(each.type) else {}
    return found


def _images(recipes: dict[str, Recipe], types: Mapping[str, Any]) -> str | None:
    """The column of images in the file itself, if there is one; leaves in `recipes` that of paths alone."""
    if "file" not in recipes:
        return None
    ((name,),) = recipes["file"]
    within, path = f"{name}.bytes", f"{name}.path"
    if pa.types.is_struct(types[name]) and within in types:
        del recipes["file"]
        if path in types:
            recipes["file"] = ((path,),)
        return within
    if _is_binary(types[name]):
        del recipes["file"]
        return name
    return None


def _has_values(file: Any, group: int, column: str) -> bool:
    """Whether a column of a row group has a value, as far as the file says."""
    place = [file.schema.column(each).path for each in range(len(file.schema))].index(column)
    try:
        # A damaged description raises where a value is read, but ends the process where pyarrow is asked for it alone.
        next(file.iter_batches(1, [group], [column], use_threads=False), None)
    except (pa.ArrowException, OSError):
        return True
    rows = file.metadata.row_group(group)
    chunk = rows.column(place)
    # Asked for statistics of another type than the schema's, pyarrow ends the process, too.
    statistics = chunk.statistics if chunk.physical_type == file.schema.column(place).physical_type else None
    return statistics is None or not statistics.has_null_count or bool(statistics.null_count < rows.num_rows)


def _check_types(path: Location, recipes: Mapping[str, Recipe], types: Mapping[str, Any]) -> None:
    """Refuses captions that are several or no text, and fields that are structures or, but for CUIs and labels, lists."""
    for field, name in ((field, name) for field, recipe in recipes.items() for each in recipe for name in each):
        kind = types[name]
        is_list = _is_list(kind)
        fits = field in _LISTS if is_list else _is_text(kind) if field == "caption" else _is_plain(kind)
        if not fits:
            hint = "a pair has one caption: explode the list" if is_list else "name a column of texts"
            within = [other for other in types if other.startswith(f"{name}.") and _is_plain(types[other])]
            raise InvalidInput(
                f"{path}: column {name} is {kind!s:.80}, not text", hint=f"{hint}, such as {within[0]}" if within else hint
            )


def _is_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return kind in (pa.string(), pa.large_string(), pa.string_view(), pa.null())


def _is_binary(kind: Any) -> bool:
    return kind in (pa.binary(), pa.large_binary(), pa.binary_view()) or isinstance(kind, pa.FixedSizeBinaryType)


def _is_plain(kind: Any) -> bool:
    """Whether values are texts, numbers, times, or lists of these."""
    if _is_list(kind):
        return not pa.types.is_nested(kind.value_type) and _is_plain(kind.value_type)
    return not (pa.types.is_nested(kind) or _is_binary(kind))


def _is_list(kind: Any) -> bool:
    return isinstance(kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType)


def _column(batch: Any, name: str) -> Any:
    if name in batch.schema.names:
        return batch.column(batch.schema.names.index(name))
    column, *rest = name.split(".")
    return pc.struct_field(batch.column(column), rest)


def _values(column: Any) -> list[Any]:
    """A column's values; `_UNREADABLE` stands for a text that is not UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())
    elif _is_list(column.type) and pa.types.is_temporal(column.type.value_type):
        column = column.cast(pa.list_(pa.string()))
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        return [_text(value) for value in column]


def _text(value: Any) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return _UNREADABLE
