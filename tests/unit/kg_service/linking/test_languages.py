import time
from types import SimpleNamespace

import pytest
from kg_service.linking import languages
from kg_service.linking.builder import build_linker
from kg_service.linking.languages import languages_of, warn_of_languages
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary
from structlog.testing import capture_logs


def with_names_in(*read):
    return SimpleNamespace(manifest={"filters": {"languages": list(read)}})


@pytest.fixture(autouse=True)
def _as_a_new_process():
    languages._warn.cache_clear()


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (["ENG"], ("ENG",)),
        (["FRE", "ENG"], ("ENG", "FRE")),
        (["FRE"], ("FRE", "ENG")),
        (["SPA"], ("ENG",)),
        (["GER", "FRE"], ("FRE", "ENG")),
    ],
)
def test_captions_are_read_in_the_languages_of_the_names_and_in_english(names, read):
    assert languages_of(with_names_in(*names)) == read


def test_languages_that_are_read_need_no_warning():
    with capture_logs() as logs:
        warn_of_languages(with_names_in("ENG"))
        warn_of_languages(with_names_in("ENG", "FRE"))
    assert logs == []


def test_other_languages_are_named_once():
    with capture_logs() as logs:
        for _ in range(2):
            warn_of_languages(with_names_in("SPA", "ENG", "FRE", "GER"))
    (log,) = logs
    assert log["log_level"] == "warning"
    assert log["event"].startswith("assertion does not read GER, SPA: ")
    assert "spaces" not in log["hint"]


def test_scripts_without_spaces_between_words_are_named_too():
    with capture_logs() as logs:
        warn_of_languages(with_names_in("CHI", "GER"))
    assert "names in CHI are found only between spaces or marks" in logs[0]["hint"]


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rrf")
    names = [
        ("C0032227", "ENG", "Pleural Effusion"),
        ("C0032227", "FRE", "Épanchement pleural"),
        ("C0032326", "ENG", "Pneumothorax"),
        ("C0009924", "ENG", "Contrast"),
        ("C0006826", "FRE", "Cancer du sein"),
        ("C0034065", "FRE", "Embolie"),
    ]
    atoms = [f"{cui}|{lat}|P|L1|PF|S1|Y|A1||||MSH|PT|X1|{name}|0|N||\n" for cui, lat, name in names]
    (folder / "MRCONSO.RRF").write_text("".join(atoms), encoding="utf-8")
    (folder / "MRSTY.RRF").write_text("".join(f"{cui}|T047|A1|type|AT1||\n" for cui in sorted({cui for cui, *_ in names})))
    (folder / "MRREL.RRF").write_text("")
    target = tmp_path_factory.mktemp("compiled") / "vocabulary"
    build_vocabulary(folder, target, VocabularyFilters(languages=("ENG", "FRE")))
    return build_linker("dictionary", open_vocabulary(target))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Pas d'épanchement pleural.", [("C0032227", "absent")]),
        ("Pas d’embolie ni de pneumothorax.", [("C0034065", "absent"), ("C0032326", "absent")]),
        ("ABSENCE D'ÉPANCHEMENT PLEURAL", [("C0032227", "absent")]),
        ("Mère ayant eu un cancer du sein, possible embolie", [("C0006826", "family"), ("C0034065", "uncertain")]),
        ("No pneumothorax. Pleural effusion.", [("C0032326", "absent"), ("C0032227", "present")]),
        ("Non contrast CT, non enhancing pleural effusion", [("C0009924", "present"), ("C0032227", "present")]),
    ],
)
def test_a_linker_reads_each_caption_in_its_language(bilingual, caption, expected):
    assert [(mention.cui, mention.assertion) for mention in bilingual.link([caption])[0].mentions] == expected


@pytest.mark.parametrize(
    "piece", ["ni ", "Pas de lésion dans le foie ", "aucun ? ", "d'", "ne peut être très très ", "possible, un "]
)
def test_the_time_to_read_french_grows_with_the_length_of_the_caption(bilingual, piece):
    def seconds(length):
        caption = "Pas d'embolie " + piece * (length // len(piece))
        before = time.process_time()
        bilingual.link([caption])
        return time.process_time() - before

    short, long = (min(seconds(length) for _ in range(3)) for length in (10_000, 80_000))
    assert long < 0.1 or long < 24 * short
