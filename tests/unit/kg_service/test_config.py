import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from kg_service.config import Settings, load_settings, variables_of, with_settings
from nbclip.errors import InvalidInput
from pydantic import Field


@dataclass(frozen=True, slots=True)
class Bag:
    """Parameters as a representation declares them; `form` can't be set."""

    form: str = "dk"
    weight: Annotated[float, Field(ge=0, le=1, description="of a concept")] = 0.5
    file: Annotated[Path | None, Field(description="where it is")] = None


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_option_goes_before_a_variable_and_a_variable_before_the_env_file(monkeypatch, empty_folder):
    (empty_folder / ".env").write_text("KG_PORT=1\nKG_HOST=::1\nKG_DATA=from-file\nOTHER=x\n")
    monkeypatch.setenv("KG_PORT", "2")
    monkeypatch.setenv("KG_HOST", "localhost")
    settings = load_settings(port=3, host=None)
    assert (settings.port, settings.host, str(settings.data)) == (3, "localhost", "from-file")


def test_secrets_are_read_from_files(monkeypatch, empty_folder):
    (empty_folder / "kg_keys_file").write_text("/keys.json")
    monkeypatch.setattr("kg_service.config.SECRETS", empty_folder)
    assert str(load_settings().keys_file) == "/keys.json"


def test_lists_are_written_with_commas(monkeypatch):
    monkeypatch.setenv("KG_SEMANTIC_TYPES", "T047, T046,")
    assert load_settings().semantic_types == ("T047", "T046")
    assert load_settings(trusted_hosts="a,*.b").trusted_hosts == ("a", "*.b")


def test_places_follow_the_data_folder_unless_set(tmp_path):
    settings = load_settings(data=tmp_path)
    assert settings.store_url == str(tmp_path / "graph.sqlite")
    places = (settings.vocabulary_folder, settings.snapshots_folder, settings.keys_path)
    assert [place.relative_to(tmp_path).name for place in places] == ["vocabulary", "snapshots", "keys.json"]
    assert load_settings(data=tmp_path, store="embedded:///x").store_url == "embedded:///x"


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "http"), ("PORT", "65536"), ("SEND_TIMEOUT_S", "0"), ("MAX_CELLS", "0")],
)
def test_an_unusable_value_is_named_with_its_variable(monkeypatch, name, value):
    monkeypatch.setenv(f"KG_{name}", value)
    with pytest.raises(InvalidInput, match=f"KG_{name}='{value}'"):
        load_settings()


def test_an_idle_connection_outlives_a_training_step():
    assert Settings().keep_alive_s >= 620


def test_a_dataclass_takes_what_is_set_of_its_described_fields(monkeypatch, empty_folder):
    secrets = empty_folder / "secrets"
    secrets.mkdir()
    (secrets / "kg_bag_file").write_text("/from/secret\n")
    monkeypatch.setattr("kg_service.config.SECRETS", secrets)
    (empty_folder / ".env").write_text("KG_BAG_WEIGHT=0.25\nKG_BAG_FORM=other\nBAG_FILE=x\n")
    assert with_settings(Bag(), "bag", load_settings()) == Bag(weight=0.25, file=Path("/from/secret"))
    monkeypatch.setenv("KG_BAG_WEIGHT", "0.75")
    settings = load_settings()
    assert with_settings(Bag(form="dk_ek"), "bag", settings) == Bag("dk_ek", 0.75, Path("/from/secret"))
    assert with_settings(Bag(), "bag", load_settings(bag_weight=1)) == Bag("dk", 1.0, Path("/from/secret"))
    assert with_settings(Bag(), "bag_of", settings) == Bag()
    monkeypatch.delenv("KG_BAG_WEIGHT")
    assert with_settings(Bag(), "bag", pickle.loads(pickle.dumps(settings))).weight == 0.75


def test_an_unusable_value_of_a_dataclass_is_named_with_its_variable(monkeypatch):
    monkeypatch.setenv("KG_BAG_WEIGHT", "2")
    with pytest.raises(InvalidInput, match=r"KG_BAG_WEIGHT='2': Input should be less than or equal to 1.*kg-service settings"):
        with_settings(Bag(), "bag", load_settings())


def test_variables_of_a_dataclass_are_its_described_fields_with_their_defaults():
    shown = [("KG_BAG_WEIGHT", "0.25", "of a concept"), ("KG_BAG_FILE", "", "where it is")]
    assert list(variables_of(Bag(weight=0.25), "bag")) == shown


def test_what_no_field_has_is_kept_by_name(monkeypatch, empty_folder):
    (empty_folder / ".env").write_text("KG_PROT=1\nKG_EMPTY\nOTHER=2\nKG_PORT=3\n")
    monkeypatch.setenv("KG_Hots", "x")
    assert load_settings(sack=4).others == {"prot": "1", "hots": "x", "sack": 4}
    assert Settings().others == {"prot": "1", "hots": "x"}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("kg.example.org", "not the address of a service, such as https://kg.example.org"),
        ("https://", "not the address"),
        ("ftp://kg.example.org", "not the address"),
        ("https://kg example", "not the address"),
        ("https://kg.example.org:port", "not the address"),
        ("https://[kg", "not the address"),
        ("https://me:secret@kg.example.org", "a login, which every client would be told"),  # pragma: allowlist secret
    ],
)
def test_the_writer_is_an_address_that_clients_can_be_told(monkeypatch, value, problem):
    monkeypatch.setenv("KG_WRITER", value)
    with pytest.raises(InvalidInput, match="KG_WRITER=") as error:
        load_settings()
    assert problem in error.value.message
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("value", ["", "https://kg.example.org", "http://[::1]:8080/kg/"])
def test_the_writer_is_kept_as_it_was_written(monkeypatch, value):
    monkeypatch.setenv("KG_WRITER", value)
    assert load_settings().writer == value
