"""How a file is laid out: its format, its separator, and which of its columns hold which field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Generic, Literal, TypeVar

from nbclip.errors import InvalidInput
from nbclip.schemas.base import has_text

Format = Literal["csv", "tsv", "roco", "ndjson", "parquet", "webdataset"]
ALIASES: Mapping[str, tuple[str, ...]] = {
    "image_id": ("image_id", "id"),
    "file": ("file", "file_name", "image"),
    "caption": ("caption",),
    "cuis": ("cuis", "cui"),
    "dataset": ("dataset", "source"),
    "split": ("split",),
    "group": ("group",),
    "modality": ("modality",),
    "organ": ("organ",),
    "modality_organ": ("modality_organ",),
}
"""Names under which a field is found, whatever their case, where no column is chosen for it."""
LABEL_FIELDS = ("group", "modality", "organ", "modality_organ")
"""Fields that say of which case an image is, and of which classes."""
COMPOSED = ("caption", "cuis")
"""Fields that may be made of several columns."""
_ALIKE = 0.8
"""How alike a column and a field are (`difflib`), 0 to 1, where one is taken for a misspelt other."""

Recipe = tuple[tuple[str, ...], ...]
"""Columns of a field: of the first alternative that has text, all texts joined by line breaks."""
Key = TypeVar("Key", str, int)


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a program's user says what a file is like."""

    column: str = "--column {field}={column}"
    separator: str = "--separator {name}"
    format: str = "--format {name}"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is read.

    Attributes:
        fields: names of `ALIASES` that are wanted.
        required: those of them that a file must have; a row may lack them all the same.
        columns: field to column; `findings,impression` joins the texts of both columns, `findings|impression` takes the first
            that has text (`COMPOSED`); `image.path` is within a column of structures. Unnamed fields go by `ALIASES`.
        extras: whether other columns are kept too, under their own names.
        format: default: by the file's name and content.
        separator: of tables; default: by the header.
        spelling: of these options, for hints.
        refuse_misspelt: refuse objects with a key that is no field and looks like one; default: a warning.
    """

    fields: tuple[str, ...]
    required: tuple[str, ...] = ("image_id", "caption")
    columns: Mapping[str, str] = field(default_factory=dict)
    extras: bool = False
    format: Format | None = None
    separator: str | None = None
    spelling: Spelling = field(default_factory=Spelling)
    refuse_misspelt: bool = False

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in self.fields:
                raise InvalidInput(
                    f"no such field: {name}", hint=f"{did_you_mean(name, self.fields)} fields are {', '.join(self.fields)}"
                )

    def recipes(self, names: Sequence[str], place: str) -> dict[str, Recipe]:
        """The columns of each field that a file with columns of these names has.

        Raises:
            InvalidInput: a chosen column is not there, or several are chosen for a field that is of one.
        """
        found = {name: self._chosen(name, names, place) for name in self.fields if name in self.columns}
        for name in self.fields:
            alias = next((alias for each in ALIASES[name] if (alias := find(each, names)) is not None), None)
            if name not in found and alias is not None:
                found[name] = ((alias,),)
        return found

    def lacking(self, found: Collection[str]) -> list[str]:
        """Required fields that are not found."""
        return [name for name in self.required if name not in found]

    def refuse(self, place: str, lacking: Sequence[str], names: Sequence[str], told: str = "") -> InvalidInput:
        """The error of a file that has no column for a required field; `names` may be within others (`image.path`)."""
        wanted = " or ".join(ALIASES[lacking[0]])
        like = next(iter(nearest(lacking[0], names)), "COLUMN")
        like = next((name for name in names if name.startswith(f"{like}.") and not name.endswith(".bytes")), like)
        return InvalidInput(
            f"{place}: no column {wanted} among: {', '.join(names) or 'nothing':.200}",
            hint=told or f"say which it is: {self.spelling.column.format(field=lacking[0], column=like)}",
        )

    def _chosen(self, name: str, names: Sequence[str], place: str) -> Recipe:
        text = self.columns[name]
        whole = find(text, names)
        if whole is not None:
            return ((whole,),)
        recipe = tuple(tuple(part.strip() for part in each.split(",")) for each in text.split("|"))
        if name not in COMPOSED and (len(recipe) > 1 or len(recipe[0]) > 1):
            raise InvalidInput(f"{name}={text}: {name} is one column", hint=f"several make {' or '.join(COMPOSED)} only")
        for part in (part for each in recipe for part in each):
            if find(part, names) is None:
                raise InvalidInput(
                    f"{place}: no column {part} among: {', '.join(names):.200}",
                    hint=did_you_mean(part, names) or "name one of these",
                )
        return tuple(tuple(str(find(part, names)) for part in each) for each in recipe)


def find(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that is this one, whatever its case if none is exactly so."""
    if name in names:
        return name
    folded = name.strip().casefold()
    return next((each for each in names if each.strip().casefold() == folded), None)


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """The names that are most like this one, best first."""
    folded = {each.strip().casefold(): each for each in reversed(list(names))}
    return [folded[each] for each in get_close_matches(name.strip().casefold(), folded, cutoff=0.6)]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint; empty if no name is alike."""
    return next((f"did you mean {each}?" for each in nearest(name, names)), "")


def extra_names(names: Iterable[str], found: Mapping[str, Recipe]) -> list[str]:
    """Columns that are taken for no field."""
    used = {column for recipe in found.values() for each in recipe for column in each}
    return [name for name in names if name.strip() and name not in used]


def misspelt(names: Iterable[str], found: Mapping[str, Recipe], fields: Sequence[str]) -> dict[str, str]:
    """Columns that are taken for no field and look like one: column to the field's name."""
    aliases = [alias for name in fields for alias in ALIASES[name]]
    others = (name for name in extra_names(names, found) if find(name, aliases) is None)
    like = {name: get_close_matches(name.strip().casefold(), aliases, n=1, cutoff=_ALIKE) for name in others}
    return {name: alias[0] for name, alias in like.items() if alias}


class Picker(Generic[Key]):
    """Takes the fields of a row out of its columns.

    Args:
        recipes: columns of each field.
        extras: columns that keep their names.
        key_of: what a row's value of a column is asked by, such as its position.
    """

    def __init__(self, recipes: Mapping[str, Recipe], extras: Iterable[str], key_of: Callable[[str], Key]) -> None:
        one = {name: recipe[0][0] for name, recipe in recipes.items() if len(recipe) == len(recipe[0]) == 1}
        self._plain: list[tuple[str, Key]] = [(name, key_of(name)) for name in extras if name not in recipes]
        self._plain += [(name, key_of(column)) for name, column in one.items()]
        self._composed: list[tuple[str, list[list[Key]]]] = [
            (name, [[key_of(column) for column in each] for each in recipe])
            for name, recipe in recipes.items()
            if name not in one
        ]

    def pick(self, get: Callable[[Key], Any]) -> dict[str, Any]:
        """The values of a row, of which `get` has those of its columns."""
        values = {name: get(key) for name, key in self._plain}
        for name, alternatives in self._composed:
            values[name] = next(filter(None, (_joined([get(key) for key in keys]) for keys in alternatives)), None)
        return values


def _joined(values: Sequence[Any]) -> Any:
    """The texts of several columns, a line each; a value that is no text stands alone, for the row to be refused."""
    present = [value for value in values if has_text(value)]
    if all(isinstance(value, str) for value in present):
        return "\n".join(value.strip() for value in present)
    if all(isinstance(value, str | list) for value in present):
        return [item for value in present for item in (value if isinstance(value, list) else [value])]
    return next(value for value in present if not isinstance(value, str))
