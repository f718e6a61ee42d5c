"""The answer of `POST /v1/explain`: what brings the similarity of two images, in parts that add up to it.

    S = Σ_t x_t · y_t                  over the concepts t that both vectors weigh, the images' own or above them
      + Σ_(a, b) scale · v_a · v_b     over pairs of their concepts, where the vectors are sums of concepts' vectors

The representation says what the parts are (`Contributions`); here the largest are chosen and named.

Shape legend: L and R concepts of the two images, T concepts where they meet, P = T + L · R parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from nbclip.schemas.concepts import ConceptRef
from nbclip.schemas.explanations import (
    CommonAncestor,
    ConceptRelation,
    Contribution,
    ContributionKind,
    ExplainedImage,
    ExplainResponse,
)
from nbclip.schemas.targets import DEFAULT_REPRESENTATION, Knowledge

from kg_service.representations.model import Contributions, Positions, other_version
from kg_service.similarity.kernel import similarity
from kg_service.similarity.rows import Rows, has_knowledge
from kg_service.snapshot.ancestry import led_to, nearest_common_ancestors, on_from, steps_up
from kg_service.snapshot.answer import unknown_images
from kg_service.snapshot.manifest import IsAOrigin, Manifest
from kg_service.snapshot.opened import Snapshot
from kg_service.vocabulary.model import TRANSITIVE

_ROUNDING = 1e-9
"""Shares up to here are what rounding leaves of 0."""

_TOLERANCE = 1e-5
"""More than float32 rounding of a similarity."""

NameOf = Callable[[str], str]
"""The name of a CUI; empty where names are not shown."""


def explain(
    snapshot: Snapshot,
    image_id: str,
    other_id: str,
    *,
    knowledge: Knowledge = "dk_ek",
    representation: str = DEFAULT_REPRESENTATION,
    limit: int = 20,
    name_of: NameOf,
) -> ExplainResponse:
    """Why the similarity of two images is the one that `POST /v1/targets` gives for them.

    Raises:
        UnknownImages: the snapshot lacks one of them, or both.
        InvalidInput: it lacks the variant, or was made by a version that worked it out otherwise.
    """
    vectors = snapshot.vectors(representation, knowledge)
    rows = _rows(snapshot, image_id, other_id)
    left, right = images = snapshot.concepts(int(rows[0])), snapshot.concepts(int(rows[1]))
    sim, held = float(similarity(vectors, rows, rows)[0, 1]), has_knowledge(vectors, rows)
    account = snapshot.fitted(representation, knowledge).contributions(left, right)
    name = _naming(snapshot, name_of)
    contributions, parts = _listed(account, images, limit, name)
    ancestors = list(_ancestors(snapshot, images, account, name))
    gap = sim - sum(parts.values())
    additive = account.additive and (rows[0] != rows[1] or bool(held[0]))
    if not additive:
        parts["unexplained"] = gap
        contributions.append(Contribution(kind="unexplained", share=gap))
    elif abs(gap) > _TOLERANCE:
        raise other_version(f"what it brings adds up to {sim - gap:.6f}, not to {sim:.6f}")
    return ExplainResponse(
        similarity=sim,
        additive=additive,
        notes=[
            *_special(snapshot, rows, held, alike=bool(contributions)),
            account.account,
            *_of_parts(contributions, ancestors),
            *_of_changes(snapshot.manifest),
        ],
        image=ExplainedImage(image_id=image_id, concepts=name(left)),
        other=ExplainedImage(image_id=other_id, concepts=name(right)),
        shared=name(np.intersect1d(left, right)),
        nearest_common_ancestors=ancestors,
        relations=list(_relations(snapshot, left, right, name)),
        parts=parts,
        contributions=contributions,
        snapshot=snapshot.id,
        knowledge=knowledge,
        representation=representation,
    )


Naming = Callable[[Iterable[int]], list[ConceptRef]]


def _naming(snapshot: Snapshot, name_of: NameOf) -> Naming:
    return lambda concepts: [ConceptRef(cui=cui, name=name_of(cui)) for cui in map(snapshot.cui, concepts)]


def _rows(snapshot: Snapshot, *image_ids: str) -> Rows:
    rows = snapshot.positions(image_ids)
    if (rows < 0).any():
        raise unknown_images({image_id for image_id, row in zip(image_ids, rows.tolist(), strict=True) if row < 0})
    return rows


def _special(snapshot: Snapshot, rows: Rows, held: npt.NDArray[np.bool_], *, alike: bool) -> list[str]:
    """What is to be known of this pair, in words."""
    notes = ["They have nothing in common that this representation sees."] if held.all() and not alike else []
    if rows[0] == rows[1]:
        notes.append("Both ids are the same image: its similarity to itself is 1, the diagonal.")
    elif np.equal(*snapshot.caption_keys(rows)):
        notes.append("Both have the same caption: targets count them as duplicates, full positives of each other.")
    without = dict.fromkeys(rows[~held].tolist())
    notes += [f"{snapshot.image_id(row)} has no concept in the snapshot: it is similar to itself alone." for row in without]
    return notes


def _of_parts(contributions: Sequence[Contribution], ancestors: Sequence[CommonAncestor]) -> Iterator[str]:
    """What a reader would take for a mistake."""
    if any(part.kind == "cooccurrence" and part.concepts == part.other_concepts for part in contributions):
        yield (
            "A pair of a concept with itself counts what that concept occurs with, which both images have in common as they "
            "both have the concept."
        )
    if any(part.kind == "learned" and part.concepts == part.other_concepts for part in contributions):
        yield "A pair of a concept with itself counts its learned vector, which both images have."
    if ancestors and not all(each.share for each in ancestors):
        yield "Common ancestors with share 0 are in the hierarchy, but bring nothing to this similarity."


def _of_changes(manifest: Manifest) -> Iterator[str]:
    """A word of warning on each thing that is not the graph's."""
    if manifest.rarest_concepts:
        yield f"Of each image the snapshot has the {manifest.rarest_concepts} rarest concepts alone."
    match manifest.is_a:
        case IsAOrigin(kind="own"):
            yield "The snapshot has is_a that a request brought, in place of the graph's."
        case IsAOrigin(seed=seed):
            yield f"The snapshot's is_a are the graph's with their parents shuffled by seed {seed}: they are no knowledge."
    if manifest.relations:
        seed = manifest.relations.seed
        yield f"The snapshot's typed relations are the graph's with their targets shuffled by seed {seed}: they are no knowledge."


def _listed(
    account: Contributions, images: tuple[Positions, Positions], limit: int, name: Naming
) -> tuple[list[Contribution], dict[ContributionKind, float]]:
    """The largest parts, those that are left in a row `rest`; and what all parts bring, by kind."""
    share_P = np.concatenate((account.meeting_share, account.pair_share.ravel()))
    both_T = np.isin(account.meeting, np.intersect1d(*images))
    sums: dict[ContributionKind, float] = {
        "concept": float(account.meeting_share[both_T].sum()),
        "ancestor": float(account.meeting_share[~both_T].sum()),
        account.pair_kind: float(account.pair_share.sum()),
    }
    order = np.argsort(-np.abs(share_P), kind="stable")
    listed = [part for part in order[:limit].tolist() if abs(share_P[part]) > _ROUNDING]
    rows = [
        _meeting(account, images, part, name) if part < len(both_T) else _pair(account, images, part - len(both_T), name)
        for part in listed
    ]
    rest_P = share_P[order[len(listed) :]]
    if (np.abs(rest_P) > _ROUNDING).any() or abs(rest_P.sum()) > _ROUNDING:
        rows.append(Contribution(kind="rest", share=float(rest_P.sum()), count=int((rest_P != 0).sum())))
    return rows, {kind: share for kind, share in sums.items() if abs(share) > _ROUNDING}


def _meeting(account: Contributions, images: tuple[Positions, Positions], at: int, name: Naming) -> Contribution:
    concept = account.meeting[at]
    left, right = images
    return Contribution(
        kind="concept" if concept in left and concept in right else "ancestor",
        share=float(account.meeting_share[at]),
        concept=name([concept])[0],
        concepts=name(left[account.left_reaches[:, at]]),
        other_concepts=name(right[account.right_reaches[:, at]]),
    )


def _pair(account: Contributions, images: tuple[Positions, Positions], at: int, name: Naming) -> Contribution:
    row, column = divmod(at, len(images[1]))
    share = float(account.pair_share[row, column])
    concepts, others = name([images[0][row]]), name([images[1][column]])
    return Contribution(kind=account.pair_kind, share=share, concepts=concepts, other_concepts=others)


def _ancestors(
    snapshot: Snapshot, images: tuple[Positions, Positions], account: Contributions, name: Naming
) -> Iterator[CommonAncestor]:
    """Without the concepts that both have."""
    shares = dict(zip(account.meeting.tolist(), account.meeting_share.tolist(), strict=True))
    left, right = (side.tolist() for side in images)
    for each in nearest_common_ancestors(snapshot.is_a, left, right):
        if each.left_steps or each.right_steps:
            (concept,) = name([each.concept])
            yield CommonAncestor(
                cui=concept.cui,
                name=concept.name,
                steps=each.left_steps,
                other_steps=each.right_steps,
                share=shares.get(each.concept, 0.0),
            )


def _relations(snapshot: Snapshot, left: Positions, right: Positions, name: Naming) -> Iterator[ConceptRelation]:
    """Typed edges on the way from either image to where both lead."""
    above = [steps_up(snapshot.is_a, side.tolist()) for side in (left, right)]
    led = [led_to(snapshot.is_a, snapshot.relations, side) for side in above]
    own, met = above[0].keys() | above[1].keys(), led[0] & led[1]
    for concept in sorted(own | (led[0] ^ led[1])):
        for relation, target in snapshot.relations(concept):
            follows = concept in own or relation in TRANSITIVE
            if follows and not met.isdisjoint(on_from(snapshot.is_a, snapshot.relations, [target])):
                subject, other = name([concept, target])
                yield ConceptRelation(subject=subject, relation=relation, target=other)
