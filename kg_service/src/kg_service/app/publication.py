"""Publishing as the settings say: what the command, a request and a job do alike."""

from __future__ import annotations

from nbclip.schemas.snapshots import PublishRequest

from kg_service.config import Settings
from kg_service.graph.store import GraphSource
from kg_service.representations.from_settings import representations_of
from kg_service.snapshot.preparation import OnStage
from kg_service.snapshot.publication import publish
from kg_service.vocabulary.vocabulary import Vocabulary


def publish_part(
    store: GraphSource,
    vocabulary: Vocabulary,
    settings: Settings,
    wanted: PublishRequest,
    *,
    on_stage: OnStage = lambda stage, fraction: None,
) -> str:
    """The id of the snapshot that the graph, or one dataset's or split's part of it, gives.

    Raises:
        as `kg_service.snapshot.publication.publish`; InvalidInput: a representation or a parameter is not known, or not usable.
    """
    return publish(
        store,
        settings.snapshots_folder,
        vocabulary=vocabulary.describe(),
        hierarchy=vocabulary,
        representations=representations_of(settings, wanted.representations),
        dataset=wanted.dataset,
        split=wanted.split,
        is_a=wanted.is_a,
        current=wanted.current,
        on_stage=on_stage,
    )
