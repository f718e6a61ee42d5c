"""The representations that the settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nbclip.schemas.targets import DEFAULT_REPRESENTATION

from kg_service.config import Settings, settable, with_settings
from kg_service.representations.methods import CONTROL, METHODS, method_named, require
from kg_service.representations.model import Representation

Asked = Mapping[str, Mapping[str, Any]]
"""Parameters by representation; those that are not named are as the settings have them."""


def representations_of(settings: Settings, asked: Asked | None = None) -> dict[str, Representation]:
    """The representations that are asked for, or else set, and the control, with their parameters, by name.

    Raises:
        InvalidInput: one is not known, or a parameter is not usable; those of representations that are not asked for count too.
        MissingExtra: one needs what is not installed.
    """
    wanted = settings.representations if asked is None else tuple(asked)
    for name in wanted:
        require(method_named(name))
    known = {name: _with_parameters(name, settings, (asked or {}).get(name, {})) for name in METHODS}
    return {name: known[name] for name in (*wanted, CONTROL)}


def with_control(representations: Mapping[str, Representation] | None = None) -> dict[str, Representation]:
    """These, or the default one, and the control; those that are not given with their default parameters."""
    wanted = dict(representations or {DEFAULT_REPRESENTATION: _default(DEFAULT_REPRESENTATION)})
    return wanted if CONTROL in wanted else {**wanted, CONTROL: _default(CONTROL)}


def _with_parameters(name: str, settings: Settings, asked: Mapping[str, Any]) -> Representation:
    """The method; what it is made of takes the parameters that it knows."""
    method = method_named(name)
    of_parts = {part: settable(method_named(part).settings) for part in method.parts}
    taken = {part: {key: value for key, value in asked.items() if key in known} for part, known in of_parts.items()}
    parts = {part: _with_parameters(part, settings, own) for part, own in taken.items()}
    beside = [key for known in of_parts.values() for key in known]
    own = {key: value for key, value in asked.items() if key not in beside}
    return method.representation(with_settings(replace(method.settings, **parts), method.name, settings, own, beside=beside))


def _default(name: str) -> Representation:
    method = method_named(name)
    return method.representation(method.settings)
