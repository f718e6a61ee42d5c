import logging
import threading
import time

import numpy as np
import pytest
import torch
from nbclip.errors import Gone, InvalidInput, NotFound, Unauthorized
from nbclip.schemas.service import Problem, ProblemItem
from nbclip_trainer.config import ServiceSettings, TargetSettings
from nbclip_trainer.errors import ServiceAway
from nbclip_trainer.targets.multiply import similarity_on
from nbclip_trainer.targets.service import connect

OLD, NEW = "0" * 64, "f" * 64


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


def test_vectors_are_asked_for_where_this_device_multiplies(service, connected):
    service.without = {"c2"}
    ids = ["a1", "b1", "c2"]
    batch = connected(knowledge="dk", mode="representations").fetch(ids[:2], ids)
    own = torch.arange(2)
    expected = service.matrix(ids[:2], ids, NEW)
    torch.testing.assert_close(similarity_on(torch.device("cpu"), batch, own), torch.from_numpy(expected.values))
    assert batch.has_knowledge.tolist() == expected.has_knowledge.tolist()
    asked = {"image_ids": ids, "snapshot": NEW, "knowledge": "dk", "representation": "hybrid"}
    assert service.asked[-1] == asked


def test_the_snapshot_stays_pinned_when_a_newer_one_appears(service, connected):
    source = connected()
    service.snapshots = {NEW: False, "1" * 64: True}
    source.fetch(["a"], ["a"])
    assert source.snapshot.id == NEW == service.asked[-1]["snapshot"]


def test_an_older_snapshot_can_be_asked_for(connected):
    assert connected(snapshot=OLD).snapshot.id == OLD
    with pytest.raises(NotFound, match="no snapshot 777"):
        connected(snapshot="777")


def test_a_snapshot_held_no_more_is_an_error_never_another_one(service, connected):
    source = connected()
    service.snapshots = {OLD: True}
    with pytest.raises(Gone, match="held no more"):
        source.fetch(["a"], ["a"])


def test_where_nothing_is_current_the_way_out_is_said(service, connected):
    service.snapshots = {OLD: False}
    with pytest.raises(NotFound, match="no current snapshot") as refused:
        connected()
    assert "snapshot publish" in refused.value.hint
    assert connected(snapshot=OLD).snapshot.id == OLD


def test_a_service_that_fails_is_not_said_to_be_away(service, connected):
    source = connected(give_up_after=0.3)
    problem = Problem(
        type="urn:nbclip:problem:broken-artefact", title="x", status=500, detail="manifest.json is not a manifest", hint="mend it"
    )
    body = problem.model_dump_json().encode()
    service.troubles.extend([(500, {"content-type": "application/problem+json"}, body)] * 50)
    with pytest.raises(ServiceAway, match=r"failed at POST /targets .* status 500: manifest\.json is not a manifest") as failed:
        source.fetch(["a"], ["a"])
    assert failed.value.hint.startswith("mend it; then resume")


def test_coverage_counts_over_many_requests(service, connected, monkeypatch):
    monkeypatch.setattr("nbclip_trainer.targets.service._PREFLIGHT_COLUMNS", 3)
    service.unknown, service.without = {"i7"}, {"i0", "i1", "i2"}
    coverage = connected().coverage([f"i{number}" for number in range(10)])
    assert coverage.unknown == ["i7"]
    assert coverage.without_knowledge == pytest.approx(3 / 9)


def test_unknown_images_are_refused_in_the_services_words(service, connected):
    service.unknown = {"x"}
    with pytest.raises(InvalidInput, match="unknown images: x") as refused:
        connected().fetch(["a"], ["a", "x"])
    assert refused.value.hint == "the service's hint"


@pytest.mark.parametrize("trouble", [(503, {"retry-after": "0"}), (429, {"retry-after": "0"}), (500, {}), (502, {})])
def test_a_busy_service_is_asked_again(service, connected, trouble):
    source = connected()
    service.troubles.append(trouble)
    assert source.fetch(["a"], ["a"]).values.shape == (1, 1)
    assert len(service.asked) == 2


def test_retry_after_is_honoured(service, connected):
    source = connected()
    service.troubles.append((503, {"retry-after": "1"}))
    started = time.monotonic()
    source.fetch(["a"], ["a"])
    assert time.monotonic() - started >= 1


def test_a_service_that_comes_back_is_found_again(service, connected):
    source = connected()
    source.fetch(["a"], ["a"])
    service.stop()
    threading.Timer(0.5, service.start).start()
    assert source.fetch(["a"], ["a"]).values.shape == (1, 1)


def test_a_service_away_for_good_is_named_with_url_version_and_wait(service, connected, caplog):
    source = connected(give_up_after=1.5)
    service.stop()
    with caplog.at_level(logging.WARNING), pytest.raises(ServiceAway) as away:
        source.fetch(["a"], ["a"])
    assert away.value.exit_code == 75
    assert service.url in away.value.message
    assert "kg-service 9.9.9" in away.value.message
    assert " s: " in away.value.message
    warnings = [record for record in caplog.records if record.name == "nbclip_trainer.targets.service"]
    assert len(warnings) == 1, "one warning in ten seconds"


def test_the_key_comes_from_a_file_or_the_environment_and_is_not_shown(service, tmp_path, monkeypatch):
    service.key = "s3cret"
    targets = TargetSettings(knowledge="dk")
    with pytest.raises(Unauthorized) as refused:
        connect(ServiceSettings(url=service.url), targets)
    assert refused.value.exit_code == 2
    (tmp_path / "key").write_text("s3cret\n")
    connect(ServiceSettings(url=service.url, key_file=tmp_path / "key"), targets).close()
    monkeypatch.setenv("NBCLIP_SERVICE_KEY", "s3cret")
    connect(ServiceSettings(url=service.url), targets).close()
    monkeypatch.setenv("NBCLIP_SERVICE_KEY", "wr0ng")
    with pytest.raises(Unauthorized) as refused:
        connect(ServiceSettings(url=service.url), targets)
    assert "wr0ng" not in str(refused.value)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "http://host:port"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(InvalidInput, match=r"service\.url"):
        connect(ServiceSettings(url=url), TargetSettings(knowledge="dk"))


def test_no_url_and_no_readable_key_file_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no URL is given"):
        connect(ServiceSettings(), TargetSettings(knowledge="dk"))
    with pytest.raises(InvalidInput, match="key_file"):
        connect(ServiceSettings(url="http://127.0.0.1:1", key_file=tmp_path / "none"), TargetSettings(knowledge="dk"))


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{}", b""])
def test_another_program_at_the_url_is_recognised(service, body):
    service.troubles.append((200, {"content-type": "text/html"}, body))
    with pytest.raises(InvalidInput, match="not the answer of a kg-service"):
        connect(ServiceSettings(url=service.url), TargetSettings(knowledge="dk"))


def test_an_answer_of_another_shape_is_refused(service, connected):
    source = connected()
    service.matrix = lambda rows, columns, snapshot: type(service).matrix(service, rows, columns[:-1], snapshot)
    with pytest.raises(InvalidInput, match="asked for"):
        source.fetch(["a", "b"], ["a", "b"])


def test_the_services_reasons_reach_the_user(service, connected):
    source = connected()
    problem = Problem(
        type="urn:nbclip:problem:invalid-input",
        title="Invalid input",
        status=422,
        detail="the body is not what this route takes",
        errors=[ProblemItem(where="image_ids.0", message="too long")],
    )
    service.troubles.append((422, {"content-type": "application/problem+json"}, problem.model_dump_json().encode()))
    with pytest.raises(InvalidInput, match=r"image_ids\.0: too long"):
        source.fetch(["a1"], ["a1"])


def test_similarities_that_are_ranked_are_asked_for_unrounded(service, connected):
    connected(top_k=3).fetch(["a1"], ["a1", "b1"])
    assert service.asked[-1]["dtype"] == "float32"
