"""All settings together: the service's own, and those that its linkers and representations declare."""

from __future__ import annotations

from collections.abc import Iterator

from nbclip.errors import BrokenArtefact, InvalidInput, NotFound

from kg_service.config import PREFIX, Settings, Variable, own_variables, variables_of
from kg_service.linking.linkers import LINKERS, linker_kind, linker_settings
from kg_service.representations.from_settings import representations_of
from kg_service.representations.methods import METHODS, method_named
from kg_service.vocabulary.vocabulary import open_vocabulary


def check_settings(settings: Settings) -> None:
    """Reads the settings of linker and representations, which are else read when they are needed.

    Raises:
        InvalidInput: naming a variable with an unusable value.
        MissingExtra: a representation needs what is not installed.
    """
    linker_settings(settings)
    representations_of(settings)
    if settings.read_only and settings.append_every_s:
        raise InvalidInput(
            f"KG_APPEND_EVERY_S={settings.append_every_s:g}: a service with KG_READ_ONLY appends nothing",
            hint="leave one of them out; the service that writes appends",
        )


def check_semantic_types(settings: Settings) -> None:
    """Raises InvalidInput where the vocabulary has no such semantic type; without a vocabulary nothing can be said yet."""
    try:
        vocabulary = open_vocabulary(settings.vocabulary_folder)
    except (NotFound, BrokenArtefact):
        return
    linker_settings(settings, vocabulary)


def unknown_variables(settings: Settings) -> list[str]:
    """`KG_…` variables that set nothing: misspelt, or another program's."""
    known = {variable.key for variable in _all()}
    return sorted(f"{PREFIX}{name}".upper() for name in settings.others if name not in known)


def settings_table() -> str:
    """All settings as a Markdown table."""
    # Linkers share some, and representations too.
    rows = {variable.name: _row(variable) for variable in _all()}
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows.values()])


def _all() -> Iterator[Variable]:
    """The service's own; after one that names entries of a table what these declare."""
    for variable in own_variables():
        match variable.key:
            case "linker":
                yield _with_names(variable, LINKERS)
                for name in LINKERS:
                    yield from variables_of(linker_kind(name).settings, "linker")
            case "representations":
                yield _with_names(variable, METHODS)
                for method in map(method_named, METHODS):
                    yield from variables_of(method.settings, method.name)
            case _:
                yield variable


def _with_names(variable: Variable, table: dict[str, str]) -> Variable:
    return variable._replace(meaning=f"{variable.meaning}; known: {', '.join(f'`{name}`' for name in table)}")


def _row(variable: Variable) -> str:
    default = f"`{variable.default}`" if variable.default else ""
    return f"| `{variable.name}` | {default} | {variable.meaning} |"
