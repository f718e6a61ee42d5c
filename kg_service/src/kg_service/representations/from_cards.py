"""Representations from what a snapshot keeps of them: the model card and the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kg_service.representations.methods import METHODS, method_named, require
from kg_service.representations.model import (
    Card,
    FittedRepresentation,
    Method,
    Representation,
    Tables,
    of_card,
    other_version,
)


def method_of(card: Card) -> Method[Any]:
    """The method of a model card.

    Raises:
        OtherVersion: this version does not know it.
    """
    name = card.get("method")
    if name not in METHODS:
        raise other_version(f"its representation {name!r:.80} is not known here")
    return method_named(str(name))


def restore(card: Card, cuis: tuple[str, ...], tables: Tables) -> FittedRepresentation:
    """The fitted representation.

    Raises:
        OtherVersion: the card is of a method, or of a form of it, that this version does not know.
    """
    method = method_of(card)
    try:
        return method.restore(card, cuis, tables)
    except KeyError as error:
        raise other_version(f"its model card or tables lack {error}") from error


def representations_of_cards(cards: Mapping[str, Card]) -> dict[str, Representation]:
    """What a snapshot was fitted with, by name; its cards are named `<representation>/<knowledge>`.

    Raises:
        OtherVersion: a card is of a method, or of a form of it, that this version does not know.
        MissingExtra: one needs what is not installed.
    """
    found: dict[str, Representation] = {}
    for name, card in cards.items():
        method = method_of(card)
        require(method)
        try:
            found[name.split("/")[0]] = method.of_card(card) if method.of_card else of_card(method.parameters, card)
        except KeyError as error:
            raise other_version(f"its model card lacks {error}") from error
    return found
