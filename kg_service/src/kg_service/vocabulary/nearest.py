"""What may be meant by a value that nothing has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

_MOST, _NAMED = 40, 3
_PART = 3
"""Letters from which on a part of a name stands for the name."""


def nearest(value: str, choices: Mapping[str, str], shown: Sequence[str]) -> str:
    """A hint that names the nearest choices, three at most, if any is near, and what there is.

    Args:
        value: what was written.
        choices: what could have been, each with how it is shown.
        shown: all that there is.
    """
    folded = {choice.casefold(): text for choice, text in choices.items()}
    asked = value.casefold()
    close = [choice for choice in folded if asked in choice] if len(asked) >= _PART else []
    close += difflib.get_close_matches(asked, folded, _NAMED)
    near = list(dict.fromkeys(folded[choice] for choice in close))[:_NAMED]
    more = f" and {len(shown) - _MOST} more" if len(shown) > _MOST else ""
    there = f"there are {', '.join(shown[:_MOST])}{more}" if shown else "there are none"
    return f"the nearest {'are' if near[1:] else 'is'} {', '.join(near)}; {there}" if near else there
