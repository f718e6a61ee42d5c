import pytest
from nbclip.client import Service
from nbclip.errors import InvalidInput, ServiceAway
from nbclip_trainer.evaluation.ontology import fetch_ancestors, read_ancestors, service_ontology


def test_a_file_names_all_ancestors_of_a_concept(tmp_path):
    (tmp_path / "a.json").write_text('{"C0000001": ["C0000002", "C0000003"], "C0000002": []}')
    assert read_ancestors(tmp_path / "a.json") == {"C0000001": {"C0000002", "C0000003"}, "C0000002": set()}


@pytest.mark.parametrize("text", ["[]", "{", '{"C0000001": "C0000002"}'])
def test_a_file_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"a\.json: not a JSON object of CUI to list of CUIs"):
        read_ancestors(tmp_path / "a.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="No such file"):
        read_ancestors(tmp_path / "a.json")


@pytest.fixture
def client(service):
    with Service(service.url, give_up_after=0.3) as opened:
        yield opened


def test_the_service_is_asked_once_for_each_concept_and_may_not_know_it(service, client):
    service.ancestors = {"C0000001": ["C0000002"]}
    found = service_ontology(client).ancestors(["C0000009", "C0000001", "C0000001"])
    assert found == {"C0000001": {"C0000002"}, "C0000009": frozenset()}
    assert [path for path in service.paths if "info" not in path] == ["/concepts/C0000001", "/concepts/C0000009"]


def test_the_names_of_concepts_come_with_their_ancestors(service, client):
    service.ancestors = {"C0000001": ["C0000002"]}
    ontology = service_ontology(client)
    ontology.ancestors(["C0000009", "C0000001"])
    assert ontology.names(["C0000009", "C0000001"]) == {"C0000001": client.concept("C0000001").name}
    assert service.paths.count("/concepts/C0000001") == 2, "once for the ontology, once for this test"


def test_an_answer_that_is_no_concept_is_refused(service, client):
    service.troubles.append((200, {}, b"<html>"))
    with pytest.raises(InvalidInput, match="not an answer of a kg-service"):
        fetch_ancestors(client, ["C0000001"])


def test_no_answer_can_be_tried_again(service, client):
    service.stop()
    with pytest.raises(ServiceAway, match=r"gave no answer to GET (/v1)?/concepts/C0000001"):
        fetch_ancestors(client, ["C0000001"])
