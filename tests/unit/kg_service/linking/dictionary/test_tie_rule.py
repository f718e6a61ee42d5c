"""The tie rule and what is weak, step by step: pairs of concepts that differ in one thing."""

import pytest
from kg_service.linking.builder import build_linker
from kg_service.linking.dictionary.settings import DictionarySettings
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary

ONE, OTHER = "C0000001", "C0000002"


@pytest.fixture
def linker_of(tmp_path):
    """A linker over concepts, each a semantic type and atoms (source, term type, name)."""

    def make(concepts, edges=(), **options):
        rows = [
            f"{cui}|ENG|{'P' if i == 0 else 'S'}|L|PF|S|Y|A||||{source}|{term_type}|X|{name}|0|N||\n"
            for cui, (_, atoms) in concepts.items()
            for i, (source, term_type, name) in enumerate(atoms)
        ]
        (tmp_path / "MRCONSO.RRF").write_text("".join(rows))
        (tmp_path / "MRSTY.RRF").write_text("".join(f"{cui}|{tui}|A1|type {tui}|AT1||\n" for cui, (tui, _) in concepts.items()))
        lines = (f"{parent}|A|AUI|CHD|{child}|A|AUI|isa|R||X|X|||N||\n" for parent, child in edges)
        (tmp_path / "MRREL.RRF").write_text("".join(lines))
        build_vocabulary(tmp_path, tmp_path / "v")
        return build_linker("dictionary", open_vocabulary(tmp_path / "v"), DictionarySettings(**options))

    return make


def best(linker, text):
    return [mention.cui for mention in linker.link([text])[0].mentions]


@pytest.mark.parametrize(
    ("one", "other", "text", "winner"),
    [
        ([("SYMP", "PT", "Seizure")], [("SYMP", "PT", "Fit"), ("SYMP", "SY", "seizure")], "seizure", ONE),
        ([("SYMP", "PT", "Ague"), ("SYMP", "SY", "seizure")], [("SYMP", "PT", "Seizure")], "seizure", OTHER),
        ([("SYMP", "PT", "Seizure")], [("MSH", "MH", "Seizures")], "seizures", OTHER),
        ([("SYMP", "PT", "Seizure"), ("SYMP", "SY", "seizure")], [("MSH", "MH", "Seizures")], "seizure", OTHER),
        (
            [("SYMP", "PT", "Seizure"), *[("SYMP", "SY", n) for n in ("seizure", "SEIZURE")]],
            [("MSH", "MH", "Seizures")],
            "seizure",
            ONE,
        ),
        ([("SYMP", "PT", "Seizure")], [("MSH", "MH", "Seizures")], "seizure", OTHER),
        ([("SYMP", "PT", "Seizures")], [("HPO", "PT", "Seizure")], "seizure", OTHER),
        ([("SYMP", "PT", "Seizure")], [("HPO", "PT", "Seizure")], "seizure", OTHER),
        ([("HPO", "PT", "Seizure")], [("HPO", "PT", "Seizure")], "seizure", ONE),
    ],
)
def test_ties(linker_of, one, other, text, winner):
    assert best(linker_of({ONE: ("T047", one), OTHER: ("T047", other)}), text) == [winner]


def test_a_concept_with_a_place_in_the_ontology_goes_before_a_stray_one(linker_of):
    concepts = {cui: ("T047", [("HPO", "PT", name)]) for cui, name in ((ONE, "Seizure"), (OTHER, "Seizure"))}
    concepts |= {f"C000010{i}": ("T047", [("HPO", "PT", f"kind {i}x")]) for i in range(8)}
    linker = linker_of(concepts, [(OTHER, f"C000010{i}") for i in range(8)])
    assert best(linker, "seizure") == [OTHER]


@pytest.mark.parametrize(
    ("tui", "name", "text"),
    [
        ("T071", "Ictal", "ictal"),
        ("T080", "Ictal", "ictal"),
        ("T047", "GPD", "GPD"),
        ("T047", "Severe", "severe"),
        ("T047", "High grade", "high grade"),
        ("T047", "Cannot", "cannot"),
        ("T047", "No longer", "no longer"),
        ("T047", "Ruled out", "ruled out"),
        ("T047", "Did not show", "did not show"),
        ("T047", "No significant difference", "no significant difference"),
    ],
)
def test_weak_readings_need_a_lower_threshold(linker_of, tui, name, text):
    concepts = {ONE: (tui, [("HPO", "PT", name)])}
    assert best(linker_of(concepts), text) == []
    assert best(linker_of(concepts, min_score=0.5), text) == [ONE]


@pytest.mark.parametrize(
    ("tui", "name", "text"),
    [
        ("T047", "GPDX", "GPDX"),
        ("T047", "Very high grade severe", "very high grade severe"),
        ("T047", "Ictal", "ictal"),
        ("T071", "Ictal thing", "ictal thing"),
        ("T047", "Down syndrome", "Down syndrome"),
        ("T047", "Still's disease", "Still's disease"),
        ("T047", "No pulse", "no pulse"),
    ],
)
def test_what_is_not_weak_is_linked(linker_of, tui, name, text):
    assert best(linker_of({ONE: (tui, [("HPO", "PT", name)])}), text) == [ONE]


def test_a_type_that_is_asked_for_is_not_vague(linker_of):
    concepts = {ONE: ("T080", [("HPO", "PT", "Ictal")])}
    assert best(linker_of(concepts, semantic_types=("T080",)), "ictal") == [ONE]


def test_a_filter_of_types_does_not_change_what_words_mean(linker_of):
    concepts = {
        ONE: ("T023", [("MSH", "MH", "Cortex"), ("MSH", "ET", "cortex")]),
        OTHER: ("T047", [("HPO", "SY", "Cortex")]),
    }
    for types, found in (((), [ONE]), (("T023",), [ONE]), (("T047",), []), (("T023", "T047"), [ONE])):
        assert best(linker_of(concepts, semantic_types=types), "cortex") == found


def test_a_longer_name_of_another_type_keeps_its_words(linker_of):
    concepts = {
        ONE: ("T061", [("MSH", "MH", "Pain Management")]),
        OTHER: ("T184", [("MSH", "MH", "Pain")]),
    }
    assert best(linker_of(concepts, semantic_types=("T184",), nested="none"), "pain management") == []
    assert best(linker_of(concepts, semantic_types=("T184",), nested="all"), "pain management") == [OTHER]
    assert best(linker_of(concepts, semantic_types=("T184",), nested="none"), "management of heavy pain") == [OTHER]


SCORES = [
    ("Renal Cyst", "Renal Cyst", "exact", 1.0),
    ("Renal Cyst", "renal cyst", "case", 1.0),
    ("Renal Cyst", "renal cysts", "normalised", 0.9),
    ("Lung Edema", "edema of the lung", "word-order", 0.8),
    ("Lung Edema", "pulmonary edema", "synonym", 0.8),
    ("Renal Effusion", "renal effussion", "misspelt", 0.8),
    ("Calcified", "calcifying", "stem", 0.7),
]


@pytest.mark.parametrize(("name", "text", "rule", "score"), SCORES)
def test_each_rule_has_its_score(linker_of, name, text, rule, score):
    names = [("HPO", "PT", each) for each in (name, "Renal lump", "Effusion")]
    linker = linker_of({ONE: ("T047", names)}, min_score=0.3)
    mention = next(mention for mention in linker.link([text])[0].mentions if mention.text == text)
    assert (mention.rule, mention.score) == (rule, score)


def test_a_name_of_lower_rank_scores_a_hundredth_less_for_each_step(linker_of):
    """TS goes before STT and ISPREF: a name with TS P is of rank 0, the next with TS S of rank 4."""
    linker = linker_of({ONE: ("T047", [("HPO", "PT", "Blob"), ("HPO", "SY", "Lump")])})
    found = linker.link(["Blob. Lump"])[0].mentions
    assert [mention.score for mention in found] == [1.0, 0.96]


def test_a_short_form_scores_a_twentieth_less_than_its_long_form(linker_of):
    linker = linker_of({ONE: ("T047", [("HPO", "PT", "Pneumothorax")]), OTHER: ("T047", [("HPO", "PT", "Giant blob")])})
    found = linker.link(["PTX. giant blob (GB)"])[0].mentions
    assert [(mention.text, mention.rule, mention.score) for mention in found] == [
        ("PTX", "radiology-abbreviation", 0.95),
        ("giant blob", "case", 1.0),
        ("GB", "abbreviation", 0.95),
    ]


@pytest.mark.parametrize(("words", "expected"), [(7, [ONE]), (8, [ONE]), (9, [])])
def test_names_of_up_to_eight_words_are_found(linker_of, words, expected):
    name = " ".join(["Alpine", "blob", "cusp", "dome", "eddy", "fjord", "glen", "hill", "isle"][:words])
    assert best(linker_of({ONE: ("T047", [("HPO", "PT", name)])}), f"An {name} here") == expected


def test_a_mention_just_below_the_threshold_is_left_out(linker_of):
    concepts = {ONE: ("T047", [("HPO", "PT", "Renal Cyst")])}
    assert best(linker_of(concepts, min_score=0.9), "renal cysts") == [ONE]
    assert best(linker_of(concepts, min_score=0.91), "renal cysts") == []
