import pytest
from kg_service.app.settings import check_settings, settings_table, unknown_variables
from kg_service.config import Settings, load_settings
from nbclip.errors import InvalidInput

DECLARED = {
    "KG_LINKER_MIN_SCORE": "0.75", "KG_LINKER_NESTED": "distinct", "KG_LINKER_CANDIDATES": "5", "KG_LINKER_SYNONYMS": "True",
    "KG_LINKER_MISSPELLINGS": "True", "KG_LINKER_PRIOR": "", "KG_LINKER_MODEL": "", "KG_LINKER_KNOWLEDGE_BASE": "",
    "KG_HYBRID_DECAY": "0.5", "KG_HYBRID_ANCESTOR_WEIGHT": "4.0", "KG_HYBRID_MAX_DISTANCE": "6", "KG_HYBRID_HUB_SHARE": "0.1",
    "KG_HYBRID_SMOOTHING": "6.0", "KG_HYBRID_SMOOTHING_DIMENSION": "32", "KG_HYBRID_SMOOTHING_FREQUENCY": "0.25",
    "KG_HYBRID_SHRINKAGE": "10.0", "KG_HYBRID_REDUNDANCY": "1.0", "KG_HYBRID_RELATIONS": "", "KG_HYBRID_RELATION_WEIGHT": "4.0",
    "KG_HYBRID_RELATION_DECAY": "0.8", "KG_TRANSE_PRESET": "fast", "KG_TRANSE_EPOCHS": "", "KG_TRANSE_IMAGES": "",
    "KG_TRANSE_DIMENSION": "", "KG_TRANSE_MARGIN": "", "KG_TRANSE_NORM": "", "KG_TRANSE_NEGATIVES": "", "KG_TRANSE_SEED": "42",
    "KG_BOTH_WEIGHT": "0.5", "KG_NOISE_DIMENSION": "64", "KG_NOISE_SEED": "42",
}  # fmt: skip


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_table_has_every_setting_with_its_default_and_meaning():
    rows = [row.strip("| ").split(" | ") for row in settings_table().splitlines()[2:]]
    defaults = {row[0].strip("`"): row[1].strip("` ") for row in rows}
    own = [f"KG_{name}".upper() for name in Settings.model_fields]
    assert [name for name in defaults if name in own] == own
    assert [name for name in defaults if name not in own] == [*DECLARED]
    assert list(defaults).index("KG_HYBRID_DECAY") == list(defaults).index("KG_REPRESENTATIONS") + 1
    assert {name: defaults[name] for name in DECLARED} == DECLARED
    assert all(len(row) == 3 and row[2] for row in rows)


def test_settings_that_name_entries_of_a_table_list_them():
    rows = settings_table().splitlines()
    assert "| `KG_LINKER` | `dictionary` | linker that finds concepts in captions; known: `dictionary`, `scispacy` |" in rows
    known = "`hybrid`, `concepts`, `transe`, `both`, `noise`"
    assert any(row.startswith("| `KG_REPRESENTATIONS` |") and known in row for row in rows)


def test_misspelt_variables_are_found_those_of_linkers_and_representations_too(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("KG_HYBRID_DECYA=1\nKG_HYBRID_DECAY=1\n")
    misspelt = ("KG_PROT", "KG_LINKER_PROIR", "KG_TRANSE_RATE", "KG_CONCEPTS_DECAY", "KG_BOTH_SEED")
    for name in (*misspelt, "KG_PORT", "KG_LINKER_PRIOR"):
        monkeypatch.setenv(name, "1")
    assert unknown_variables(load_settings()) == sorted((*misspelt, "KG_HYBRID_DECYA"))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("KG_LINKER", "magic", r"no linker is called 'magic'.*dictionary, scispacy"),
        ("KG_LINKER_MIN_SCORE", "2", "KG_LINKER_MIN_SCORE='2'"),
        ("KG_LINKER_MODEL", "en_core", r"KG_LINKER_MODEL belongs to the scispacy linker, but the linker is dictionary.*unset it"),
        ("KG_REPRESENTATIONS", "hybrid,magic", r"no representation is called 'magic'.*hybrid, concepts, transe, both, noise"),
        ("KG_HYBRID_DECAY", "0", "KG_HYBRID_DECAY='0'"),
        ("KG_NOISE_SEED", "-1", "KG_NOISE_SEED='-1'"),
    ],
)
def test_an_unusable_setting_is_named(monkeypatch, name, value, told):
    check_settings(load_settings())
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match=told):
        check_settings(load_settings())
