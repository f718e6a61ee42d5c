"""Fitted representations from what a snapshot keeps of them: the model card and the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields

from kg_service.representations.hybrid import Hybrid, restore_hybrid
from kg_service.representations.model import Card, FittedRepresentation, Representation, Tables, other_version
from kg_service.representations.noise import restore_noise
from kg_service.representations.transe import TransE, restore_transe

_RESTORE: dict[str, Callable[[Card, tuple[str, ...], Tables], FittedRepresentation]] = {
    "hybrid": restore_hybrid,
    "noise": restore_noise,
    "transe": restore_transe,
}
"""By the card's method: `concepts` is a hybrid too."""


def restore(card: Card, cuis: tuple[str, ...], tables: Tables) -> FittedRepresentation:
    """The fitted representation.

    Raises:
        OtherVersion: the card is of a method, or of a form of it, that this version does not know.
    """
    try:
        return _RESTORE[str(card["method"])](card, cuis, tables)
    except KeyError as error:
        raise other_version(f"its model card or tables lack {error}") from error


def representations_of_cards(cards: Mapping[str, Card]) -> dict[str, Representation]:
    """What a snapshot was fitted with, by name; its cards are named `<representation>/<knowledge>`. Noise is always held.

    Raises:
        OtherVersion: a card is of a method, or of a form of it, that this version does not know.
    """
    methods: dict[str, type[Hybrid | TransE]] = {"hybrid": Hybrid, "transe": TransE}
    found: dict[str, Representation] = {}
    for name, card in cards.items():
        if card["method"] == "noise":
            continue
        try:
            method = methods[str(card["method"])]
            found[name.split("/")[0]] = method(**{field.name: card[field.name] for field in fields(method)})  # type: ignore[arg-type]
        except KeyError as error:
            raise other_version(f"its model card lacks {error}") from error
    return found
