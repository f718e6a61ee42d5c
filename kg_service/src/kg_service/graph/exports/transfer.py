"""A graph from one store to another: batch by batch, each a transaction, so that an interrupted copy resumes when run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from nbclip.errors import Conflict
from nbclip.schemas.images import Outcome

from kg_service.graph.store import GraphCounts, GraphSource, GraphStore, OnConflict

FIRST_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What became of a copy.

    Attributes:
        outcomes: images of the source by outcome; the rejected ones contradict what the target holds.
        source: counts of the source after the copy.
        target: counts of the target after the copy.
        differences: the first images that are not the same in both, with the reason.
    """

    outcomes: Mapping[Outcome, int]
    source: GraphCounts
    target: GraphCounts
    differences: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the target now holds the source's graph and nothing else.

        Everything of the source was written, so the target can differ in rejected images and in what it has more of.
        """
        return not self.outcomes.get("rejected") and self.source == self.target


def copy(
    source: GraphSource,
    target: GraphStore,
    *,
    on_conflict: OnConflict = "reject",
    merge: bool = False,
    on_images: Callable[[int], None] = lambda images: None,
) -> CopyReport:
    """Writes the whole graph of `source` into `target`, and compares the two. Running it again changes nothing.

    Args:
        source: is read only.
        target: is empty, or holds a part of the same graph.
        on_conflict: what happens to an image that the target has with other content.
        merge: the target may have images that the source lacks; it keeps them.
        on_images: called after every batch with the number of images so far.

    Raises:
        Conflict: without `merge`, the target has images that the source lacks; nothing is written.
        Unavailable: a store does not answer; what was copied before stays.
    """
    if not merge:
        _refuse_another_graph(source, target)
    outcomes: Counter[Outcome] = Counter()
    differences: list[str] = []
    for batch in source.batches():
        results = target.write(batch, on_conflict=on_conflict).outcomes
        outcomes.update(result.outcome for result in results)
        rejected = (f"{result.image_id}: {result.reason}" for result in results if result.outcome == "rejected")
        differences += [*rejected][: FIRST_DIFFERENCES - len(differences)]
        on_images(outcomes.total())
    report = CopyReport(outcomes, source.counts(), target.counts(), tuple(differences))
    if report.source.images == report.target.images:
        return report
    surplus = [
        *_surplus(target.image_ids(), source.image_ids(), "in the target only"),
        *_surplus(source.image_ids(), target.image_ids(), "in the source only, written there meanwhile"),
    ]
    return CopyReport(outcomes, report.source, report.target, (*differences, *surplus)[:FIRST_DIFFERENCES])


def _refuse_another_graph(source: GraphSource, target: GraphStore) -> None:
    if not target.counts().images:
        return
    others = sorted(target.image_ids() - source.image_ids())
    if others:
        named = ", ".join(others[:FIRST_DIFFERENCES])
        raise Conflict(
            f"the target has {len(others)} images that the source lacks, nothing was copied: {named}",
            hint="check that it is the right store; --merge copies into it and keeps what it has",
        )


def _surplus(image_ids: set[str], others: set[str], reason: str) -> Iterable[str]:
    return (f"{image_id}: {reason}" for image_id in sorted(image_ids - others))
