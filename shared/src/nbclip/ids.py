"""Identifiers that travel: of concepts, images and snapshots, and caption digests; checked before anything is done with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Annotated, Any

from pydantic import AfterValidator

from nbclip.errors import InvalidId, InvalidInput

MAX_IMAGE_ID_BYTES = 512
MAX_CUI_CHARACTERS = 64
_CUI = re.compile(
    r"C[0-9]{7}"  # UMLS
    r"|[1-9][0-9]{5,17}"  # SNOMED CT
    r"|[A-Za-z]{2,16}[0-9]{1,16}"  # RadLex
    r"|[A-Za-z][A-Za-z0-9_]{0,31}:[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"  # OBO
)
_CONTROL_OR_SURROGATE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PRINTABLE_ASCII = bytes(range(32, 127))
_SNAPSHOT_ID = re.compile(r"[0-9a-f]{64}")


def check_cui(value: str) -> str:
    """Returns `value` if it has the form of a concept's identifier, else raises InvalidId.

    A CUI of the UMLS (`C` and seven digits), an id of SNOMED CT (6 to 18 digits), letters and digits as RadLex has them
    (`RID1301`), or a prefix and a local id as OBO has them (`UBERON:0002048`); of at most 64 characters, all ASCII, without
    slashes or spaces.
    """
    if not _CUI.fullmatch(value) or len(value) > MAX_CUI_CHARACTERS:
        raise InvalidId(
            f"not a CUI: {value!r:.80}",
            hint="a CUI is C and seven digits, such as C0024109; other vocabularies have 39607008, RID1301, UBERON:0002048",
        )
    return value


def check_image_id(value: str) -> str:
    """Returns `value` if it is 1 to 512 UTF-8 bytes without control characters or lone surrogates, else raises InvalidId."""
    if _CONTROL_OR_SURROGATE.search(value):
        raise InvalidId(f"image id with a control character or lone surrogate: {value!r:.80}", hint="use printable text")
    if not value:
        raise InvalidId("image id is empty", hint=f"1 to {MAX_IMAGE_ID_BYTES} bytes are allowed")
    if len(value) > MAX_IMAGE_ID_BYTES // 4 and len(value.encode()) > MAX_IMAGE_ID_BYTES:
        raise InvalidId(f"image id of {len(value.encode())} bytes", hint=f"1 to {MAX_IMAGE_ID_BYTES} bytes are allowed")
    return value


def listed_texts(name: str, given: Iterable[str]) -> list[str]:
    """What an argument brings, ids or captions, as a list: of a list, a tuple, a column, an array or a generator.

    Raises:
        InvalidInput: it is None, one text, or of no order, or something in it is no text.
    """
    if isinstance(given, str | bytes | Set | Mapping) or not isinstance(given, Iterable):
        what = repr(given) if isinstance(given, str | bytes) or given is None else type(given).__name__
        raise InvalidInput(f"{name} is {what:.80}, not a list of texts", hint=f"{name}=['case/7', 'case/8'], in their order")
    texts = list(given)
    strange = next((place for place, each in enumerate(texts) if not isinstance(each, str)), None)
    if strange is not None:
        raise InvalidInput(
            f"{name}[{strange}] is {texts[strange]!r:.80}, which is no string",
            hint="texts such as 'case/7', as they were ingested",
        )
    return texts


def are_plain_image_ids(values: Sequence[Any]) -> bool:
    """Whether all are surely image ids, by one look at them together; False: each has to be looked at."""
    try:
        text = "".join(values)
    except TypeError:
        return False
    # No printable character is a control character or a surrogate.
    printable = not text.encode().translate(None, _PRINTABLE_ASCII) if text.isascii() else text.isprintable()
    lengths = set(map(len, values))
    return printable and 0 not in lengths and max(lengths, default=0) <= MAX_IMAGE_ID_BYTES // 4


def check_snapshot_id(value: str) -> str:
    """Returns `value` if it is a SHA-256 in 64 lower-case hexadecimal digits, else raises InvalidId."""
    if not is_snapshot_id(value):
        raise InvalidId(f"not a snapshot id: {value!r:.80}", hint="64 hexadecimal digits, as `GET /v1/snapshots` lists them")
    return value


def is_snapshot_id(value: str) -> bool:
    """Whether `value` has the form of a snapshot id."""
    return _SNAPSHOT_ID.fullmatch(value) is not None


def caption_sha256(caption: str) -> str:
    """SHA-256 (hexadecimal) of the caption with white space runs folded; two images with the same one are duplicates."""
    return hashlib.sha256(" ".join(caption.split()).encode()).hexdigest()


def caption_key(digest: str) -> int:
    """63 bits of a `caption_sha256`, in [0, 2^63): equal keys mean duplicates."""
    return int(digest[:16], 16) >> 1


def _for_pydantic(check: object) -> AfterValidator:
    def validate(value: str) -> str:
        try:
            return check(value)  # type: ignore[operator, no-any-return]
        except InvalidId as error:
            raise ValueError(str(error)) from error

    return AfterValidator(validate)


Cui = Annotated[str, _for_pydantic(check_cui)]
ImageId = Annotated[str, _for_pydantic(check_image_id)]
SnapshotId = Annotated[str, _for_pydantic(check_snapshot_id)]
