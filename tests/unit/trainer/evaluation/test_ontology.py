import httpx2
import pytest
from nbclip.errors import InvalidInput, Unavailable
from nbclip.schemas.concepts import ConceptOut, ConceptRef
from nbclip_trainer.evaluation.ontology import fetch_ancestors, read_ancestors


def client(answer):
    return httpx2.Client(base_url="http://service", transport=httpx2.MockTransport(answer))


def concept(cui, ancestors):
    refs = [ConceptRef(cui=one, name=one) for one in ancestors]
    return ConceptOut(
        cui=cui, name=cui, names=[], semantic_types=[], parents=[], children=[], ancestors=refs, image_count=0
    ).model_dump_json()


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


def test_the_service_is_asked_once_for_each_concept_and_may_not_know_it():
    asked = []

    def answer(request):
        asked.append(request.url.path)
        if request.url.path.endswith("9"):
            return httpx2.Response(404)
        return httpx2.Response(200, text=concept("C0000001", ["C0000002"]))

    found = fetch_ancestors(client(answer), ["C0000009", "C0000001", "C0000001"])
    assert found == {"C0000001": {"C0000002"}, "C0000009": frozenset()}
    assert asked == ["/concepts/C0000001", "/concepts/C0000009"]


@pytest.mark.parametrize(("status", "text", "message"), [(401, "", "status 401"), (200, "<html>", "not a concept")])
def test_an_answer_that_is_no_concept_is_refused(status, text, message):
    with pytest.raises(InvalidInput, match=message):
        fetch_ancestors(client(lambda request: httpx2.Response(status, text=text)), ["C0000001"])


def test_no_answer_can_be_tried_again():
    def away(request):
        raise httpx2.ConnectError("refused")

    with pytest.raises(Unavailable, match="no answer: refused"):
        fetch_ancestors(client(away), ["C0000001"])
