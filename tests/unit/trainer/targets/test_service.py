"""What the trainer asks of a `nbclip.client.Service`, which has tests of its own."""

import numpy as np
import pytest
import torch
from nbclip.errors import InvalidInput, NotFound, ServiceAway, Unauthorized
from nbclip_trainer.targets.multiply import similarity_on
from nbclip_trainer.targets.service import connect
from nbclip_trainer.targets.settings import ServiceSettings, TargetSettings
from support.knowledge_service import NEW, OLD


@pytest.fixture
def connected(service):
    sources = []

    def connect_to(give_up_after=20.0, **targets):
        settings = ServiceSettings(url=service.url, give_up_after=give_up_after)
        sources.append(connect(settings, TargetSettings(**{"knowledge": "dk_ek", **targets})))
        return sources[-1]

    yield connect_to
    for source in sources:
        source.close()


def test_it_asks_for_float16_similarities_of_the_pinned_snapshot(service, connected):
    matrix = connected(knowledge="dk").fetch(["a1"], ["a1", "b1", "c2"])
    assert np.allclose(matrix.values, [[1, 0.8, 0.05]], atol=1e-3)
    assert service.asked[-1] == {
        "image_ids": ["a1"],
        "column_ids": ["a1", "b1", "c2"],
        "snapshot": NEW,
        "knowledge": "dk",
        "representation": "hybrid",
        "output": "similarity",
        "dtype": "float16",
        "on_unknown": "error",
    }


def test_similarities_that_are_ranked_are_asked_for_unrounded(service, connected):
    connected(top_k=3).fetch(["a1"], ["a1", "b1"])
    assert service.asked[-1]["dtype"] == "float32"


def test_vectors_are_asked_for_where_this_device_multiplies(service, connected):
    service.without = {"c2"}
    ids = ["a1", "b1", "c2"]
    batch = connected(knowledge="dk", mode="representations").fetch(ids[:2], ids)
    own = torch.arange(2)
    expected = service.matrix(ids[:2], ids, NEW)
    torch.testing.assert_close(similarity_on(torch.device("cpu"), batch, own), torch.from_numpy(expected.values))
    assert batch.has_knowledge.tolist() == expected.has_knowledge.tolist()
    asked = service.asked[-1]
    assert (asked["image_ids"], asked["snapshot"], asked["knowledge"], asked["dtype"]) == (ids, NEW, "dk", "float32")


def test_a_snapshot_that_is_not_there_is_refused_before_the_run(connected):
    assert connected(snapshot=OLD).snapshot.id == OLD
    with pytest.raises(NotFound, match="no snapshot 777"):
        connected(snapshot="777")


def test_coverage_counts_over_many_requests(service, connected, monkeypatch):
    monkeypatch.setattr("nbclip_trainer.targets.service._PREFLIGHT_COLUMNS", 3)
    service.unknown, service.without = {"i7"}, {"i0", "i1", "i2"}
    coverage = connected().coverage([f"i{number}" for number in range(10)])
    assert coverage.unknown == ["i7"]
    assert coverage.without_knowledge == pytest.approx(3 / 9)


def test_a_service_that_goes_away_leaves_a_run_that_can_be_resumed(service, connected):
    source = connected(give_up_after=0.3)
    service.stop()
    with pytest.raises(ServiceAway, match="gave no answer") as away:
        source.fetch(["a"], ["a"])
    assert away.value.hint == "start the service; then resume: nbclip train --resume --run DIR"


def test_the_key_comes_from_a_file_before_the_environment(service, tmp_path, monkeypatch):
    service.key = "s3cret"
    monkeypatch.setenv("NBCLIP_SERVICE_KEY", "wr0ng")
    targets = TargetSettings(knowledge="dk")
    with pytest.raises(Unauthorized) as refused:
        connect(ServiceSettings(url=service.url), targets)
    assert "--key-file" in refused.value.hint
    (tmp_path / "key").write_text("s3cret\n")
    connect(ServiceSettings(url=service.url, key_file=tmp_path / "key"), targets).close()


def test_no_url_and_no_readable_key_file_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no URL is given"):
        connect(ServiceSettings(), TargetSettings(knowledge="dk"))
    with pytest.raises(InvalidInput, match="key_file"):
        connect(ServiceSettings(url="http://127.0.0.1:1", key_file=tmp_path / "none"), TargetSettings(knowledge="dk"))
