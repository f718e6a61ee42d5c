"""`nbclip.client` beside a service that runs in a process of its own: what it answers is what the snapshot holds."""

import numpy as np
import pytest
from kg_service.app.keys import add_key
from kg_service.snapshot import SnapshotFolder, answer_targets
from nbclip.client import Service
from nbclip.errors import InvalidInput, NotFound, Unauthorized, UnknownImages
from nbclip.schemas.targets import TargetParameters, TargetsRequest
from support.neo4j.server import free_ports
from support.service import Service as RunningService

IDS = ["effusion", "effusion too", "pneumonia", "fracture", "empty"]


@pytest.fixture
def running(data, vocabulary_folder):
    """The service's address, and a key of its."""
    key = add_key(data / "keys.json", "trainer", ["read"])
    service = RunningService(data, {"KG_VOCABULARY": str(vocabulary_folder)}, port=free_ports(1)[0])
    yield service.url, key
    service.close()


def test_its_answers_are_the_snapshots(running, data):
    url, key = running
    opened = SnapshotFolder(data / "snapshots").open()
    parameters = TargetParameters(neighbour_mass=0.5, effective_neighbours=2)
    with pytest.raises(Unauthorized):
        Service(url, key="another")
    with Service(url, key=key) as service:
        assert service.snapshot.id == SnapshotFolder(data / "snapshots").current()
        assert service.info().snapshot == service.snapshot.id

        found = service.targets(IDS[:2], IDS, parameters=parameters)
        asked = TargetsRequest(image_ids=IDS[:2], column_ids=IDS, **parameters.model_dump(exclude_unset=True))
        np.testing.assert_allclose(found.values, answer_targets(opened, asked).values, atol=1e-6)
        assert found.has_knowledge.tolist() == [True, True, True, True, False]

        similarity = service.targets(IDS, output="similarity").values
        vectors = service.representations(IDS)
        dense = np.zeros((len(IDS), vectors.columns), np.float32)
        for row in range(len(IDS)):
            entries = slice(vectors.indptr[row], vectors.indptr[row + 1])
            dense[row, vectors.indices[entries]] = vectors.data[entries]
        product = dense @ dense.T + vectors.dense @ vectors.dense.T
        np.fill_diagonal(product, 1)
        np.testing.assert_allclose(product, similarity, atol=1e-5)

        flagged = service.targets(IDS[:1], [*IDS[:1], "nobody"], on_unknown="flag")
        assert flagged.unknown.tolist() == [False, True]
        with pytest.raises(UnknownImages, match="nobody"):
            service.targets(["nobody"])
        with pytest.raises(InvalidInput, match="sack"):
            service.targets(IDS, representation="sack")


def test_concepts_and_snapshots_that_are_not_there_are_not_found(running):
    url, key = running
    with Service(url, key=key) as service:
        pneumonia = service.concept("C0032285")
        assert pneumonia.ancestors
        with pytest.raises(NotFound):
            service.concept("C9999999")
    for missing in ("777", "0" * 64):
        with Service(url, key=key, snapshot=missing) as service, pytest.raises(NotFound, match=f"no snapshot {missing}"):
            service.targets(IDS)
