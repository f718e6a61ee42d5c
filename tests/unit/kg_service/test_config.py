import pytest
from kg_service.config import Settings, load_settings, settings_table, unknown_variables
from nbclip.errors import InvalidInput


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
    [("PORT", "http"), ("PORT", "65536"), ("LINKER", "magic"), ("SEND_TIMEOUT_S", "0"), ("MAX_CELLS", "0")],
)
def test_an_unusable_value_is_named_with_its_variable(monkeypatch, name, value):
    monkeypatch.setenv(f"KG_{name}", value)
    with pytest.raises(InvalidInput, match=f"KG_{name}='{value}'"):
        load_settings()


def test_a_misspelt_variable_is_found(monkeypatch):
    monkeypatch.setenv("KG_PROT", "1")
    monkeypatch.setenv("KG_PORT", "1")
    assert unknown_variables() == ["KG_PROT"]


def test_an_idle_connection_outlives_a_training_step():
    assert Settings().keep_alive_s >= 620


def test_the_table_has_every_setting_with_its_meaning():
    rows = settings_table().splitlines()[2:]
    assert [row.split("`")[1].removeprefix("KG_").lower() for row in rows] == list(Settings.model_fields)
    assert all(row.rstrip(" |").split(" | ")[-1] for row in rows)


def test_an_empty_prior_is_none(monkeypatch):
    monkeypatch.setenv("KG_LINKER_PRIOR", "")
    assert load_settings().linker_prior is None
    monkeypatch.setenv("KG_LINKER_PRIOR", "somewhere")
    assert str(load_settings().linker_prior) == "somewhere"
