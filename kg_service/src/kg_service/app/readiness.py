"""Which work can be taken now, and why other work can't."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import get_args

from nbclip.errors import NBClipError
from nbclip.schemas.service import Ability, AbilityOut

from kg_service.app.own_paths import without_own_paths
from kg_service.config import Settings

ABILITIES: tuple[Ability, ...] = get_args(Ability)
_NEEDS: Mapping[Ability, tuple[str, ...]] = {
    "ingest": ("keys", "data", "store", "vocabulary", "linker", "upkeep"),
    "link": ("keys", "vocabulary", "linker"),
    "targets": ("keys", "snapshot"),
}
Checks = Mapping[str, Callable[[], object]]
"""Of each part one that raises NBClipError where it can't be used."""


def needed(wanted: Collection[Ability]) -> list[str]:
    """The parts that these abilities stand on."""
    return list(dict.fromkeys(part for each in wanted for part in _NEEDS[each]))


def asked_by_default(settings: Settings) -> tuple[Ability, ...]:
    """What a service is ready for as such: everything begins with captions, but for one that only reads."""
    return ("targets",) if settings.read_only else ("ingest",)


def failures(checks: Checks, parts: Sequence[str]) -> dict[str, NBClipError]:
    """Why parts can't be used, by part."""
    found = {}
    for part in parts:
        try:
            checks[part]()
        except NBClipError as error:
            found[part] = error
    return found


def abilities(wanted: Collection[Ability], failed: Mapping[str, NBClipError], settings: Settings) -> dict[str, AbilityOut]:
    """What can be done, by name; of several reasons why not each once, and the first way out."""
    return {each: _ability([failed[part] for part in _NEEDS[each] if part in failed], settings) for each in wanted}


def _ability(errors: Sequence[NBClipError], settings: Settings) -> AbilityOut:
    if not errors:
        return AbilityOut(ready=True)
    reasons = dict.fromkeys(error.message for error in errors)
    return AbilityOut(
        ready=False,
        reason=without_own_paths("; ".join(reasons), settings),
        hint=without_own_paths(errors[0].hint, settings),
    )
