"""All settings together: the service's own, and those that its linkers and representations declare."""

from __future__ import annotations

from collections.abc import Iterator

from kg_service.config import PREFIX, Settings, Variable, own_variables, variables_of
from kg_service.linking.linkers import LINKERS, linker_kind, linker_settings
from kg_service.representations.chosen import representations_of
from kg_service.representations.methods import METHODS, method_named

_TABLES = {f"{PREFIX}LINKER": LINKERS, f"{PREFIX}REPRESENTATIONS": METHODS}
"""Settings that name entries of a table."""


def check_settings(settings: Settings) -> None:
    """Reads what linker and representations make of their settings, which is else read when they are needed.

    Raises:
        InvalidInput: naming a variable with an unusable value.
        MissingExtra: a representation needs what is not installed.
    """
    linker_settings(settings)
    representations_of(settings)


def unknown_variables(settings: Settings) -> list[str]:
    """`KG_…` variables that set nothing: misspelt, or of another program."""
    known = {variable.key for variable in _declared()}
    return sorted(f"{PREFIX}{name}".upper() for name in settings.others if name not in known)


def settings_table() -> str:
    """All settings as a Markdown table."""
    rows = {variable.name: variable for variable in (*own_variables(), *_declared())}
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *map(_row, rows.values())])


def _declared() -> Iterator[Variable]:
    """Once for each linker or representation that has it."""
    for name in LINKERS:
        yield from variables_of(linker_kind(name).settings, "linker")
    for name in METHODS:
        method = method_named(name)
        yield from variables_of(method.settings, method.name)


def _row(variable: Variable) -> str:
    default = f"`{variable.default}`" if variable.default else ""
    names = ", ".join(f"`{name}`" for name in _TABLES.get(variable.name, ()))
    return f"| `{variable.name}` | {default} | {variable.meaning}{f': {names}' if names else ''} |"
