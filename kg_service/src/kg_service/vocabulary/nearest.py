"""What may be meant by a value that nothing has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

_MOST = 40


def nearest(value: str, choices: Mapping[str, str], shown: Sequence[str]) -> str:
    """A hint that names the nearest choice, if one is near, and what there is.

    Args:
        value: what was written.
        choices: what could have been, each with how it is shown.
        shown: all that there is.
    """
    folded = {choice.casefold(): text for choice, text in choices.items()}
    close = difflib.get_close_matches(value.casefold(), folded, 1)
    more = f" and {len(shown) - _MOST} more" if len(shown) > _MOST else ""
    there = f"there are {', '.join(shown[:_MOST])}{more}" if shown else "there are none"
    return f"the nearest is {folded[close[0]]}; {there}" if close else there
