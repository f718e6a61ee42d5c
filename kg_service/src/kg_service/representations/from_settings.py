"""The representations that the settings ask for."""

from __future__ import annotations

from collections.abc import Mapping

from nbclip.schemas.targets import DEFAULT_REPRESENTATION

from kg_service.config import Settings, with_settings
from kg_service.representations.methods import CONTROL, METHODS, method_named, require
from kg_service.representations.model import Representation


def representations_of(settings: Settings) -> dict[str, Representation]:
    """The representations that are set, and the control, with their parameters, by name.

    Raises:
        InvalidInput: one is not known, or a parameter is not usable; those of representations that are not asked for count too.
        MissingExtra: one needs what is not installed.
    """
    for name in settings.representations:
        require(method_named(name))
    known = {name: _with_parameters(name, settings) for name in METHODS}
    return {name: known[name] for name in (*settings.representations, CONTROL)}


def with_control(representations: Mapping[str, Representation] | None = None) -> dict[str, Representation]:
    """These, or the default one, and the control; those that are not given with their default parameters."""
    wanted = dict(representations or {DEFAULT_REPRESENTATION: _default(DEFAULT_REPRESENTATION)})
    return wanted if CONTROL in wanted else {**wanted, CONTROL: _default(CONTROL)}


def _with_parameters(name: str, settings: Settings) -> Representation:
    method = method_named(name)
    return method.representation(with_settings(method.settings, method.name, settings))


def _default(name: str) -> Representation:
    method = method_named(name)
    return method.representation(method.settings)
