"""The table of representations: a new one is a file, and a line here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from nbclip.errors import InvalidInput

from kg_service.errors import MissingExtra

if TYPE_CHECKING:
    from kg_service.representations.model import Method

METHODS: dict[str, str] = {
    "hybrid": "kg_service.representations.hybrid:METHOD",
    "concepts": "kg_service.representations.hybrid:CONCEPTS",
    "transe": "kg_service.representations.transe:METHOD",
    "both": "kg_service.representations.both:METHOD",
    "noise": "kg_service.representations.noise:METHOD",
}
"""By the name that requests call it: where its `Method` is, imported when it is needed. A method's own name is among them."""

CONTROL = "noise"
"""What any knowledge must beat: every snapshot holds it."""


def method_named(name: str) -> Method[Any]:
    """The method that requests call so.

    Raises:
        InvalidInput: there is none; names those that there are.
    """
    if name not in METHODS:
        raise InvalidInput(f"no representation is called {name!r:.80}", hint=f"choose one of {', '.join(METHODS)}")
    method: Method[Any] = resolve_name(METHODS[name])
    return method


def require(method: Method[Any]) -> None:
    """Raises MissingExtra where the method can't be fitted, as something that it needs is not installed."""
    for package in method.packages:
        try:
            version(package)
        except PackageNotFoundError as error:
            raise MissingExtra(method.extra, f"the representation {method.name!r}") from error
