"""A kg-service over HTTP: its targets, similarities, image vectors and concepts, all of one snapshot.

    from nbclip.client import Service

    with Service("http://127.0.0.1:8080", key="…") as service:
        print(service.snapshot.id)                              # pinned: every answer below comes from it
        for image_ids in batches:
            matrix = service.targets(image_ids)                 # target rows, one for each image; each sums to 1
            rows = torch.from_numpy(matrix.values)              # float32, [R, R], for the losses of `nbclip.losses`
            known = matrix.has_knowledge                        # False: an image without a usable CUI, its row is one-hot
        matrix = service.targets(own_ids, all_ids)              # one rank's rows to the global batch's columns
        similar = service.targets(image_ids, output="similarity")

A service that does not answer is asked again, with growing jittered pauses, until `give_up_after`; then `ServiceAway` is raised.
Nothing ever stands in for its answer. Services of version 0.1.0 and later are understood.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

from nbclip import codec
from nbclip.codec import TargetMatrix
from nbclip.connection import Connection
from nbclip.errors import Conflict, Gone, InvalidId, InvalidInput, NotFound
from nbclip.ids import listed_texts
from nbclip.schemas.concepts import ConceptOut
from nbclip.schemas.jobs import JobOut
from nbclip.schemas.linking import LinkResponse
from nbclip.schemas.service import Info
from nbclip.schemas.snapshots import PublishRequest, SnapshotOut
from nbclip.schemas.targets import Knowledge, MatrixDtype, TargetParameters
from nbclip.vectors import VectorBatch, decode_vectors

_LOOKS_EVERY_S = 1.0


class Service:
    """A kg-service with one snapshot of its pinned. Use it as a context manager, or `close` it; threads may share it.

    Args:
        url: its address, such as `http://127.0.0.1:8080`.
        key: the bearer key; None: that of the variable NBCLIP_SERVICE_KEY, if it is set.
        snapshot: the snapshot to pin; None: the one that is current now.
        give_up_after: seconds for which a question is repeated; half a minute at most when the connection is made.

    Raises:
        InvalidInput: no URL of HTTP, or what answers there is no kg-service.
        ServiceAway: no answer.
        Unauthorized: the service wants a key, or another one.
    """

    def __init__(self, url: str, *, key: str | None = None, snapshot: str | None = None, give_up_after: float = 600.0) -> None:
        self._connection = Connection(url, key, give_up_after)
        self._pinned = snapshot or self._connection.current

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    @property
    def url(self) -> str:
        """The service's address."""
        return self._connection.url

    @cached_property
    def snapshot(self) -> SnapshotOut:
        """The pinned snapshot, which stays the same while newer ones are published.

        Raises:
            NotFound: none was published, or the service has no such snapshot.
        """
        if self._pinned is None:
            raise NotFound(f"{self.url}: no current snapshot", hint="publish one: kg-service snapshot publish --split train")
        try:
            return self._connection.read(SnapshotOut, f"/snapshots/{quote(self._pinned, safe='')}")
        except (NotFound, Gone, InvalidId) as error:
            raise NotFound(f"{self.url}: no snapshot {self._pinned}", hint=error.hint) from error

    def info(self) -> Info:
        """What the service says of itself now: version, vocabulary, counts, limits."""
        return self._connection.read(Info, "/info")

    def concept(self, cui: str) -> ConceptOut:
        """A concept with its names, parents, children and ancestors; raises NotFound where the vocabulary lacks it."""
        return self._connection.read(ConceptOut, f"/concepts/{quote(cui, safe='')}")

    def link(self, captions: Iterable[str]) -> LinkResponse:
        """The concepts that the service's linker finds in captions, in their order, and the linker's name.

        Args:
            captions: at most `nbclip.schemas.base.MAX_ITEMS`, each of at most `MAX_CAPTION_CHARACTERS`.

        Raises:
            ServiceAway: no answer within `give_up_after`.
            NBClipError: the service refuses: it has no vocabulary, the key is wrong, a caption is too long.
        """
        captions = listed_texts("captions", captions)
        answer = self._connection.read(LinkResponse, "/link", {"captions": captions})
        if len(answer.results) != len(captions):
            raise InvalidInput(
                f"{self.url}: asked to link {len(captions)} captions, got {len(answer.results)}",
                hint="check that both programs have the same version",
            )
        return answer

    def publish(self, request: PublishRequest, on_progress: Callable[[JobOut], None] = lambda job: None) -> SnapshotOut:
        """Publishes a snapshot, and returns once it is published; the pinned one stays.

        The same request of the same graph gives the same id, so what was interrupted may be asked for again.

        Args:
            request: what is published, and whether it is served from then on.
            on_progress: is told of the job about once a second: `stage` and `fraction`, and in `error` why it waits.

        Raises:
            Conflict: the job failed, or somebody cancelled it.
            ServiceAway: no answer within `give_up_after`.
            NBClipError: the service refuses: a representation or parameter is not known, the key lacks the scope `admin`.
        """
        body = request.model_dump(mode="json", exclude_defaults=True)
        if request.append:
            return self._connection.read(SnapshotOut, "/snapshots", body)
        job = self._connection.read(JobOut, "/snapshots", body)
        while job.state in ("queued", "running"):
            on_progress(job)
            time.sleep(_LOOKS_EVERY_S)
            job = self._connection.read(JobOut, f"/jobs/{job.id}")
        if job.snapshot is None:
            why = f": {job.error}" if job.error else ""
            raise Conflict(f"{self.url}: the publication is {job.state}{why}", hint=job.hint)
        on_progress(job)
        return self._connection.read(SnapshotOut, f"/snapshots/{job.snapshot}")

    def targets(
        self,
        image_ids: Iterable[str],
        column_ids: Iterable[str] | None = None,
        *,
        knowledge: Knowledge = "dk_ek",
        representation: str = "hybrid",
        output: Literal["targets", "similarity"] = "targets",
        parameters: TargetParameters | None = None,
        dtype: MatrixDtype = "float32",
        on_unknown: Literal["error", "flag"] = "error",
    ) -> TargetMatrix:
        """Target rows or similarities of some images, [R, C].

        Args:
            image_ids: the rows' images.
            column_ids: the columns' images, such as those of the global batch; None: the rows'.
            knowledge: `dk_ek` with the ontology, `dk` without it, `noise` the control.
            representation: one that the snapshot has.
            output: `targets`, rows that sum to 1, or `similarity`, [-1, 1].
            parameters: how similarities become targets; None: the service's defaults.
            dtype: of the values on their way; `float16` is for similarities alone.
            on_unknown: `flag` marks images that the snapshot lacks in `unknown`, instead of refusing the batch.

        Raises:
            InvalidInput: ids or parameters are of another kind, or the connection is closed.
            UnknownImages: the snapshot lacks some of them.
            ServiceAway: no answer within `give_up_after`.
            NBClipError: the service refuses: the snapshot is gone or lacks the representation, the key is wrong.
        """
        rows = listed_texts("image_ids", image_ids)
        columns = rows if column_ids is None else listed_texts("column_ids", column_ids)
        if not isinstance(parameters, TargetParameters | None):
            raise InvalidInput(
                f"parameters is of type {type(parameters).__name__}",
                hint="TargetParameters(neighbour_mass=0.5) of nbclip.schemas.targets",
            )
        body = {
            "image_ids": rows,
            "column_ids": columns,
            **self._chosen(knowledge, representation, dtype, on_unknown),
            "output": output,
            **({} if parameters is None else parameters.model_dump(exclude_unset=True)),
        }
        matrix = codec.decode(self._connection.post("/targets", body))
        self._check((matrix.output, matrix.values.shape), (output, (len(rows), len(columns))), matrix.metadata)
        return matrix

    def representations(
        self,
        image_ids: Iterable[str],
        *,
        knowledge: Knowledge = "dk_ek",
        representation: str = "hybrid",
        dtype: Literal["float32", "float16"] = "float32",
        on_unknown: Literal["error", "flag"] = "error",
    ) -> VectorBatch:
        """Image vectors whose products are the similarities, [C]; arguments and errors as of `targets`."""
        image_ids = listed_texts("image_ids", image_ids)
        body = {"image_ids": image_ids, **self._chosen(knowledge, representation, dtype, on_unknown)}
        batch = decode_vectors(self._connection.post("/representations", body))
        self._check(len(batch), len(image_ids), batch.metadata)
        return batch

    def _chosen(self, knowledge: str, representation: str, dtype: str, on_unknown: str) -> dict[str, str]:
        return {
            "snapshot": self.snapshot.id,
            "knowledge": knowledge,
            "representation": representation,
            "dtype": dtype,
            "on_unknown": on_unknown,
        }

    def _check(self, found: object, wanted: object, metadata: Mapping[str, str]) -> None:
        pinned = self.snapshot.id
        if found != wanted or metadata.get("snapshot", pinned) != pinned:
            raise InvalidInput(
                f"{self.url}: asked for {wanted} of {pinned:.12}, got {found} of {metadata.get('snapshot', ''):.12}",
                hint="check that service and trainer have the same version",
            )
