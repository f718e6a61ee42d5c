"""What may be meant by a value that nothing has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

_MOST = 40
_PART = 3
"""Letters from which on a part of a name stands for the name."""


def nearest(value: str, choices: Mapping[str, str], shown: Sequence[str]) -> str:
    """A hint that names the nearest choice, if one is near, and what there is.

    Args:
        value: what was written.
        choices: what could have been, each with how it is shown.
        shown: all that there is.
    """
    folded = {choice.casefold(): text for choice, text in choices.items()}
    asked = value.casefold()
    close = difflib.get_close_matches(asked, folded, 1)
    if not close and len(asked) >= _PART:
        close = [choice for choice in folded if asked in choice]
    more = f" and {len(shown) - _MOST} more" if len(shown) > _MOST else ""
    there = f"there are {', '.join(shown[:_MOST])}{more}" if shown else "there are none"
    return f"the nearest is {folded[close[0]]}; {there}" if close else there
