import pytest
from kg_service.api.negotiation import choose
from kg_service.api.problems import NotAcceptable

FORMS = ("application/json", "application/vnd.safetensors")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", 0),
        ("application/*", 0),
        ("application/vnd.safetensors", 1),
        ("APPLICATION/VND.SAFETENSORS", 1),
        ("text/html, application/vnd.safetensors;q=0.1", 1),
        ("application/json;q=0.5, application/vnd.safetensors;q=0.6", 1),
        ("application/json;q=0.5, */*;q=0.9", 1),
        ("*/*;q=0.1, application/vnd.safetensors", 1),
        ("application/json;q=0, */*", 1),
        ("application/json; charset=utf-8; q=1.0", 0),
    ],
)
def test_the_most_exact_range_counts_and_the_first_of_equals_is_taken(accept, chosen):
    assert choose(accept, FORMS) == FORMS[chosen]


@pytest.mark.parametrize("accept", ["", "text/*", "*/*;q=0", "application/json;q=none", ",;,", "application"])
def test_none_that_is_taken_is_refused_with_those_there_are(accept):
    with pytest.raises(NotAcceptable, match="safetensors"):
        choose(accept, FORMS)
