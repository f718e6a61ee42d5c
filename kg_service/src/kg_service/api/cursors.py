"""Cursors: where the next page of a list begins, as text that a client passes back unread."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import Query
from nbclip.errors import InvalidInput

Cursor = Annotated[str, Query(max_length=1_000, description="`next_cursor` of the page before")]


def cursor_of(last: str) -> str:
    """The cursor of a page whose last entry has this key."""
    return base64.urlsafe_b64encode(last.encode()).decode()


def key_of(cursor: str) -> str:
    """The key of the last entry before the page; empty for the first page.

    Raises:
        InvalidInput: no page was given this cursor.
    """
    try:
        return base64.b64decode(cursor.encode(), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise no_cursor(cursor) from error


def no_cursor(cursor: str) -> InvalidInput:
    """The error of a cursor that nobody was given."""
    return InvalidInput(f"not a cursor: {cursor!r:.80}", hint="pass next_cursor unchanged")
