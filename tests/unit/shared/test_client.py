import logging
import threading
import time

import numpy as np
import pytest
from nbclip.client import Service
from nbclip.errors import Gone, InvalidInput, NotFound, ServiceAway, Unauthorized, UnknownImages
from nbclip.schemas.linking import LinkResponse
from nbclip.schemas.service import Problem, ProblemItem
from nbclip.schemas.targets import TargetParameters
from support.knowledge_service import NEW, OLD


@pytest.fixture
def opened(service):
    """Connects to the service; closed at the end."""
    clients = []

    def open_it(**options):
        clients.append(Service(service.url, **{"give_up_after": 20.0, **options}))
        return clients[-1]

    yield open_it
    for client in clients:
        client.close()


def test_targets_are_rows_that_sum_to_one_of_the_pinned_snapshot(service, opened):
    service.without = {"c3"}
    matrix = opened().targets(["a1", "b1", "c3"], knowledge="dk")
    assert matrix.output == "targets"
    np.testing.assert_allclose(matrix.values.sum(axis=1), 1, atol=1e-6)
    assert matrix.has_knowledge.tolist() == [True, True, False]
    assert matrix.values[2].tolist() == [0, 0, 1], "nothing is known of it"
    assert matrix.values[0, 1] > matrix.values[0, 2], "a1 and b1 are alike"
    asked = service.asked[-1]
    assert (asked["snapshot"], asked["knowledge"], asked["column_ids"]) == (NEW, "dk", ["a1", "b1", "c3"])


def test_a_ranks_rows_meet_the_global_batch(opened):
    matrix = opened().targets(["a1"], ["a1", "b1", "c2"], output="similarity", dtype="float16")
    np.testing.assert_allclose(matrix.values, [[1, 0.8, 0.05]], atol=1e-3)


def test_parameters_of_the_targets_are_passed_on_as_they_were_given(service, opened):
    ids = ["a1", "b1", "c2"]
    hard = opened().targets(ids, parameters=TargetParameters(neighbour_mass=0))
    np.testing.assert_array_equal(hard.values, np.eye(3))
    opened().targets(ids, parameters=TargetParameters(form="paper-literal", temperature=0.5))
    assert {"form", "temperature"} < service.asked[-1].keys()
    assert "neighbour_mass" not in service.asked[-1], "paper-literal has none, and the service refuses it"


def test_captions_are_linked_in_their_order(service, opened):
    service.linked = {"pneumonia": ("C0032285", "present"), "fracture": ("C0016658", "absent")}
    answer = opened().link(["no fracture", "pneumonia", ""])
    assert answer.linker == "test-1"
    found = [[(mention.cui, mention.assertion) for mention in result.mentions] for result in answer.results]
    assert found == [[("C0016658", "absent")], [("C0032285", "present")], []]


def test_an_answer_to_other_captions_is_refused(service, opened):
    service.links = lambda captions: LinkResponse(linker="x", results=[])
    with pytest.raises(InvalidInput, match="asked to link 1 captions, got 0"):
        opened().link(["pneumonia"])


def test_vectors_multiply_to_the_similarities(service, opened):
    client, ids = opened(), ["a1", "b1", "c2"]
    batch = client.representations(ids)
    dense = np.zeros((3, batch.columns), np.float32)
    for row in range(3):
        entries = slice(batch.indptr[row], batch.indptr[row + 1])
        dense[row, batch.indices[entries]] = batch.data[entries]
    product = dense @ dense.T
    np.fill_diagonal(product, 1)
    np.testing.assert_allclose(product, client.targets(ids, output="similarity").values, atol=1e-6)


@pytest.mark.parametrize(("api", "path"), [(None, "/targets"), ("v1", "/v1/targets"), ("v2", "/v1/targets")])
def test_paths_have_a_version_where_the_service_has_one_that_is_known(service, opened, api, path):
    """A service of a later version still has the paths of this one, and its bare paths are those of its newest."""
    service.api = api
    opened().targets(["a1"])
    assert service.paths[0] == "/v1/info"
    assert service.paths[-1] == path


def test_the_snapshot_stays_pinned_when_a_newer_one_appears(service, opened):
    client = opened()
    service.snapshots = {NEW: False, "1" * 64: True}
    client.targets(["a"])
    assert client.snapshot.id == NEW == service.asked[-1]["snapshot"]


def test_an_older_snapshot_can_be_asked_for(opened):
    assert opened(snapshot=OLD).snapshot.id == OLD
    with pytest.raises(NotFound, match="no snapshot 777"):
        _ = opened(snapshot="777").snapshot


def test_a_snapshot_held_no_more_is_an_error_never_another_one(service, opened):
    client = opened()
    client.targets(["a"])
    service.snapshots = {OLD: True}
    with pytest.raises(Gone, match="held no more"):
        client.targets(["a"])


def test_where_nothing_is_current_the_way_out_is_said(service, opened):
    service.snapshots = {OLD: False}
    client = opened()
    assert client.info().snapshot is None
    with pytest.raises(NotFound, match="no current snapshot") as refused:
        client.targets(["a"])
    assert "snapshot publish" in refused.value.hint
    assert opened(snapshot=OLD).snapshot.id == OLD


def test_a_concept_comes_with_what_stands_above_it(service, opened):
    service.ancestors = {"C0000001": ["C0000002"]}
    assert [above.cui for above in opened().concept("C0000001").ancestors] == ["C0000002"]
    with pytest.raises(NotFound):
        opened().concept("C0000009")


def test_unknown_images_are_refused_in_the_services_words_or_flagged(service, opened):
    service.unknown = {"x"}
    with pytest.raises(UnknownImages, match="unknown images: x") as refused:
        opened().targets(["a"], ["a", "x"])
    assert refused.value.hint == "the service's hint"
    assert opened().targets(["a"], ["a", "x"], on_unknown="flag").unknown.tolist() == [False, True]


@pytest.mark.parametrize("trouble", [(503, {"retry-after": "0"}), (429, {"retry-after": "0"}), (500, {}), (502, {})])
def test_a_busy_service_is_asked_again(service, opened, trouble):
    client = opened()
    service.troubles.append(trouble)
    assert client.targets(["a"]).values.shape == (1, 1)


def test_retry_after_is_honoured(service, opened):
    client = opened()
    client.targets(["a"])
    service.troubles.append((503, {"retry-after": "1"}))
    started = time.monotonic()
    client.targets(["a"])
    assert time.monotonic() - started >= 1


def test_a_service_that_comes_back_is_found_again(service, opened):
    client = opened()
    client.targets(["a"])
    service.stop()
    threading.Timer(0.5, service.start).start()
    assert client.targets(["a"]).values.shape == (1, 1)


def test_a_service_that_fails_is_not_said_to_be_away(service, opened):
    client = opened(give_up_after=0.3)
    client.targets(["a"])
    problem = Problem(
        type="urn:nbclip:problem:broken-artefact", title="x", status=500, detail="manifest.json is not a manifest", hint="mend it"
    )
    body = problem.model_dump_json().encode()
    service.troubles.extend([(500, {"content-type": "application/problem+json"}, body)] * 50)
    with pytest.raises(ServiceAway, match=r"failed at POST /targets .* status 500: manifest\.json is not a manifest") as failed:
        client.targets(["a"])
    assert failed.value.hint == "mend it"


def test_a_service_away_for_good_is_named_with_url_version_and_wait(service, opened, caplog):
    client = opened(give_up_after=1.5)
    service.stop()
    with caplog.at_level(logging.WARNING), pytest.raises(ServiceAway) as away:
        client.targets(["a"])
    assert away.value.exit_code == 75
    assert service.url in away.value.message
    assert "kg-service 9.9.9" in away.value.message
    assert " s: " in away.value.message
    warnings = [record for record in caplog.records if record.name == "nbclip.connection"]
    assert len(warnings) == 1, "one warning in ten seconds"


def test_the_key_is_given_or_of_the_environment_and_is_not_shown(service, monkeypatch):
    service.key = "s3cret"
    with pytest.raises(Unauthorized) as refused:
        Service(service.url)
    assert refused.value.exit_code == 2
    assert "NBCLIP_SERVICE_KEY" in refused.value.hint
    Service(service.url, key="s3cret\n").close()
    monkeypatch.setenv("NBCLIP_SERVICE_KEY", "s3cret")
    Service(service.url).close()
    monkeypatch.setenv("NBCLIP_SERVICE_KEY", "wr0ng")
    with pytest.raises(Unauthorized) as refused:
        Service(service.url)
    assert "wr0ng" not in str(refused.value)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "http://host:port", None])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(InvalidInput, match=r"is not an? (HTTP )?URL"):
        Service(url)


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{}", b""])
def test_another_program_at_the_url_is_recognised(service, body):
    service.troubles.append((200, {"content-type": "text/html"}, body))
    with pytest.raises(InvalidInput, match="not an answer of a kg-service"):
        Service(service.url)


def test_an_answer_of_another_shape_is_refused(service, opened):
    service.matrix = lambda rows, columns, snapshot: type(service).matrix(service, rows, columns[:-1], snapshot)
    with pytest.raises(InvalidInput, match="asked for"):
        opened().targets(["a", "b"], output="similarity")


def test_the_services_reasons_reach_the_user(service, opened):
    client = opened()
    client.targets(["a1"])
    problem = Problem(
        type="urn:nbclip:problem:invalid-input",
        title="Invalid input",
        status=422,
        detail="the body is not what this route takes",
        errors=[ProblemItem(where="image_ids.0", message="too long")],
    )
    service.troubles.append((422, {"content-type": "application/problem+json"}, problem.model_dump_json().encode()))
    with pytest.raises(InvalidInput, match=r"image_ids\.0: too long"):
        client.targets(["a1"])


def test_leaving_closes_the_connection(service):
    with Service(service.url) as client:
        client.targets(["a"])
    with pytest.raises(InvalidInput, match="is closed; make a new Service"):
        client.targets(["a"])


@pytest.mark.parametrize("given", [None, "a1", b"a1", 7, {"a1", "b1"}, {"a1": 1}, ["a1", 7], [None]])
@pytest.mark.parametrize("asked", ["targets", "columns", "representations", "link"])
def test_what_is_no_list_of_texts_is_refused_by_name(opened, service, asked, given):
    client = opened()
    ways = {
        "targets": ("image_ids", lambda: client.targets(given)),
        "columns": ("column_ids", lambda: client.targets(["a1"], 7 if given is None else given)),
        "representations": ("image_ids", lambda: client.representations(given)),
        "link": ("captions", lambda: client.link(given)),
    }
    name, way = ways[asked]
    with pytest.raises(InvalidInput, match=rf"^{name}(\[\d\])? is .*; (texts such as|{name}=\[)"):
        way()
    assert service.asked == []


def test_ids_may_be_an_array_a_tuple_or_a_generator(opened):
    client, ids = opened(), ["a1", "b1", "c2"]
    expected = client.targets(ids).values
    for given in (tuple(ids), np.array(ids), (each for each in ids)):
        np.testing.assert_array_equal(client.targets(given).values, expected)
    assert len(client.representations(each for each in ids)) == 3


def test_parameters_of_another_kind_are_refused_with_the_right_one(opened):
    with pytest.raises(InvalidInput, match=r"parameters is of type dict; TargetParameters\(neighbour_mass=0.5\)"):
        opened().targets(["a1"], parameters={"neighbour_mass": 0.5})


def test_asking_again_prints_nothing_and_logs_in_words_of_its_own(service, opened, caplog, capsys):
    client = opened()
    service.troubles.append((503, {"retry-after": "0"}))
    with caplog.at_level(logging.DEBUG):
        client.targets(["a"])
    assert capsys.readouterr().out == ""
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in warned] == ["nbclip.connection"]
    assert "asking again" in warned[0].getMessage()
