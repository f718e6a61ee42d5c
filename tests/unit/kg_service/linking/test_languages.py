from types import SimpleNamespace

import pytest
from kg_service.linking import languages
from kg_service.linking.languages import warn_of_languages
from structlog.testing import capture_logs


def with_names_in(*read):
    return SimpleNamespace(manifest={"filters": {"languages": list(read)}})


@pytest.fixture(autouse=True)
def _as_a_new_process():
    languages._warn.cache_clear()


def test_english_is_read():
    with capture_logs() as logs:
        warn_of_languages(with_names_in("ENG"))
    assert logs == []


def test_other_languages_are_named_once():
    with capture_logs() as logs:
        for _ in range(2):
            warn_of_languages(with_names_in("SPA", "ENG", "FRE"))
    (log,) = logs
    assert log["log_level"] == "warning"
    assert "reads English only" in log["event"]
    assert "FRE, SPA" in log["event"]
    assert "spaces" not in log["hint"]


def test_scripts_without_spaces_between_words_are_named_too():
    with capture_logs() as logs:
        warn_of_languages(with_names_in("CHI", "GER"))
    assert "names in CHI are found only between spaces or marks" in logs[0]["hint"]
