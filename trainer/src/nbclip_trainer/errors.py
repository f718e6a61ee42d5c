"""The trainer's own errors; the tree and what each becomes outside is drawn in `nbclip.errors`.

NBClipError
├── InvalidInput
│   └── BadImage        a file that can't be decoded            exit 2
├── Unavailable
│   └── RankLost        another process of the run is gone      exit 75
└── NonFiniteLoss       loss or gradient is NaN or infinite     exit 1
"""

from __future__ import annotations

from nbclip.errors import InvalidInput, NBClipError, Unavailable


class BadImage(InvalidInput):
    code, title = "bad-image", "An image that can't be decoded"


class RankLost(Unavailable):
    code, title = "rank-lost", "Another process of the run is gone"


class NonFiniteLoss(NBClipError):
    code, title = "non-finite-loss", "The loss or its gradient is not finite"
