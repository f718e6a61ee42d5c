"""The knowledge-graph service as a source of similarities.

What a `nbclip.client.Service` asks is in the settings; a service that stays away ends the run, which can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import numpy as np
from nbclip.client import Service
from nbclip.codec import TargetMatrix
from nbclip.connection import KEY_VARIABLE
from nbclip.errors import InvalidInput, ServiceAway, Unauthorized
from nbclip.schemas.snapshots import SnapshotOut
from nbclip.schemas.targets import Knowledge

from nbclip_trainer.targets.settings import ServiceSettings, TargetSettings
from nbclip_trainer.targets.source import Answer, Coverage

_PREFLIGHT_COLUMNS = 4096


class ServiceSource:
    """Similarities from the snapshot that a service has pinned; owns the connection.

    Attributes:
        snapshot: the snapshot that every answer comes from.
        split: of which split it was published; None: of all.
    """

    def __init__(self, service: Service, targets: TargetSettings) -> None:
        self._service, self._targets = service, targets
        self._knowledge = cast(Knowledge, targets.knowledge)
        self.snapshot: SnapshotOut = service.snapshot
        self.split = self.snapshot.manifest.split

    def fetch(self, row_ids: Sequence[str], column_ids: Sequence[str]) -> Answer:
        """See `TargetSource`.

        Raises:
            ServiceAway: no answer within `service.give_up_after`.
            NBClipError: the service refuses: no such id, snapshot or knowledge, a wrong key.
        """
        with _ways_out():
            if self._targets.mode == "representations":
                representation = self._targets.representation
                return self._service.representations(column_ids, knowledge=self._knowledge, representation=representation)
            return self._matrix(row_ids, column_ids, flag=False)

    def coverage(self, image_ids: Sequence[str]) -> Coverage:
        """Looks all images up in the snapshot; raises as `fetch`."""
        unknown: list[str] = []
        known = without = 0
        for start in range(0, len(image_ids), _PREFLIGHT_COLUMNS):
            ids = image_ids[start : start + _PREFLIGHT_COLUMNS]
            with _ways_out():
                matrix = self._matrix(ids[:1], ids, flag=True)
            unknown += [image_id for image_id, missing in zip(ids, matrix.unknown, strict=True) if missing]
            known += int(np.count_nonzero(~matrix.unknown))
            without += int(np.count_nonzero(~matrix.unknown & ~matrix.has_knowledge))
        return Coverage(unknown, without / max(known, 1))

    def close(self) -> None:
        """Closes the connection."""
        self._service.close()

    def _matrix(self, row_ids: Sequence[str], column_ids: Sequence[str], *, flag: bool) -> TargetMatrix:
        return self._service.targets(
            row_ids,
            column_ids,
            knowledge=self._knowledge,
            representation=self._targets.representation,
            output="similarity",
            # Rounding to float16 makes ties, of which top_k keeps all.
            dtype="float16" if self._targets.top_k is None else "float32",
            on_unknown="flag" if flag else "error",
        )


def connect(service: ServiceSettings, targets: TargetSettings) -> ServiceSource:
    """Connects and pins the snapshot.

    Raises:
        InvalidInput: no URL, or not one of HTTP; an unreadable key file.
        ServiceAway: no answer within half a minute.
        NotFound: the service has no such snapshot.
    """
    if service.url is None:
        raise InvalidInput(
            f"targets.knowledge={targets.knowledge} comes from the service, and no URL is given",
            hint="--service http://127.0.0.1:8080, or targets.knowledge=identity for plain CLIP",
        )
    with ExitStack() as undo, _ways_out():
        opened = service_client(service.url, service.key_file, snapshot=targets.snapshot, give_up_after=service.give_up_after)
        source = ServiceSource(undo.enter_context(opened), targets)
        undo.pop_all()
    return source


def service_client(
    url: str, key_file: Path | None = None, *, snapshot: str | None = None, give_up_after: float = 600.0
) -> Service:
    """A connection to the service, with the key of `key_file` or of the variable NBCLIP_SERVICE_KEY, if there is one.

    Raises:
        InvalidInput: not a URL of HTTP; an unreadable key file.
        ServiceAway: no answer within half a minute.
        Unauthorized: the service wants a key, or another one.
    """
    return Service(url, key=_key(key_file), snapshot=snapshot, give_up_after=give_up_after)


def _key(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"service.key_file={file}: can't be read: {error}", hint="a file with the key alone") from error


@contextmanager
def _ways_out() -> Iterator[None]:
    """Errors of the client with the trainer's own hints."""
    try:
        yield
    except ServiceAway as error:
        raise ServiceAway(error.message, hint=f"{error.hint}; then resume: nbclip train --resume --run DIR") from error
    except Unauthorized as error:
        raise Unauthorized(error.message, hint=f"--key-file FILE, or the variable {KEY_VARIABLE}") from error
