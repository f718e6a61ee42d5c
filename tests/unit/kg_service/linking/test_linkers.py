"""The table of linkers: what each declares, and one of one's own."""

import pytest
from kg_service.config import load_settings, variables_of
from kg_service.linking.builder import build_linker
from kg_service.linking.linkers import LINKERS, linker_kind, linker_settings, paths_of, settings_of_kind
from kg_service.linking.settings import LinkerSettings
from nbclip.errors import InvalidInput


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", LINKERS)
def test_each_has_what_all_have_and_declares_what_is_its_own(name):
    kind = linker_kind(name)
    assert isinstance(kind.settings, LinkerSettings)
    common = {variable.name: variable.default for variable in variables_of(LinkerSettings(), "linker")}
    assert common.items() <= {variable.name: variable.default for variable in variables_of(kind.settings, "linker")}.items()
    semantic_types = load_settings(linker=name, semantic_types="T047,T046")
    assert linker_settings(semantic_types).semantic_types == ("T047", "T046")


@pytest.mark.parametrize("name", LINKERS)
@pytest.mark.parametrize("written", ["T047,T060", '["T047", "T060"]', "t047 t060", "T047 T047;T060"])
def test_semantic_types_are_those_of_the_vocabulary_however_they_are_written(name, written, vocabulary, monkeypatch):
    monkeypatch.setenv("KG_SEMANTIC_TYPES", written)
    settings = load_settings(linker=name)
    assert linker_settings(settings, vocabulary).semantic_types == ("T047", "T060")
    assert settings_of_kind(linker_kind(name), settings, vocabulary).semantic_types == ("T047", "T060")


@pytest.mark.parametrize("written", ["T999", "T184", "T047,Sign or Symptom"])
def test_a_semantic_type_that_the_vocabulary_lacks_is_refused(written, vocabulary, monkeypatch):
    monkeypatch.setenv("KG_SEMANTIC_TYPES", written)
    with pytest.raises(InvalidInput, match=r"no concept of the vocabulary in .*KG_SEMANTIC_TYPES: .*there are ."):
        linker_settings(load_settings(), vocabulary)


def test_an_empty_prior_is_none_and_another_is_a_path():
    assert linker_settings(load_settings(linker_prior="")).prior is None
    settings = linker_settings(load_settings(linker_prior="somewhere"))
    assert {name: str(path) for name, path in paths_of(settings).items()} == {"prior": "somewhere"}


def test_what_is_set_of_another_linker_is_refused_unless_it_is_empty():
    assert linker_settings(load_settings(linker="scispacy", linker_prior="")).model == ""
    with pytest.raises(InvalidInput, match=r"KG_LINKER_PRIOR belongs to the dictionary linker.*--linker dictionary"):
        linker_settings(load_settings(linker="scispacy", linker_prior="somewhere"))


def test_one_of_ones_own_is_a_file_and_a_line(vocabulary, monkeypatch):
    monkeypatch.setitem(LINKERS, "own", "support.own_linker:LINKER")
    monkeypatch.setenv("KG_LINKER", "own")
    monkeypatch.setenv("KG_LINKER_LEAST_LETTERS", "5")
    settings = load_settings()
    linker = build_linker(settings.linker, vocabulary, linker_settings(settings))
    assert linker.name == "own-5"
    [linked] = linker.link(["Left lung, femur"])
    assert [(mention.cui, mention.text) for mention in linked.mentions] == [("C0015811", "femur")]
    with pytest.raises(InvalidInput, match="KG_LINKER_PRIOR belongs to the dictionary linker"):
        linker_settings(load_settings(linker_prior="somewhere"))


def test_one_that_is_not_known_is_refused_with_those_that_are(vocabulary):
    with pytest.raises(InvalidInput, match=r"no linker is called 'magic'.*dictionary, scispacy"):
        build_linker("magic", vocabulary)
