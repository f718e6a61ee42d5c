import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking.dictionary.normaliser import Normaliser, strip_name
from kg_service.linking.dictionary.tokens import WordTable, tokenise
from kg_service.linking.tables import read_table

SAME = [
    ("oedema", "edema"),
    ("oesophagus", "esophagus"),
    ("haemorrhages", "hemorrhage"),
    ("tumours", "tumor"),
    ("leukaemia", "leukemia"),
    ("visualised", "visualized"),
    ("centres", "center"),
    ("vertebrae", "vertebra"),
    ("metastases", "metastasis"),
    ("stenoses", "stenosis"),
    ("bronchi", "bronchus"),
    ("diverticula", "diverticulum"),
    ("arteries", "artery"),
    ("Alzheimer's", "alzheimer"),
    ("naïve", "naive"),
    ("α", "alpha"),
    ("III", "3"),
    ("X-ray", "xray"),
    ("post-operative", "postoperative"),
    ("diseases", "disease"),
    ("hypertensive", "hypertension"),
    ("ischaemic", "ischemia"),
    ("necrotic", "necrosis"),
    ("hypertrophic", "hypertrophy"),
    ("emphysematous", "emphysema"),
    ("edematous", "edema"),
    ("granulomatous", "granuloma"),
    ("thromboembolic", "thromboembolism"),
    ("aneurysmal", "aneurysm"),
    ("neurotoxic", "neurotoxicity"),
    ("masses", "mass"),
]
DIFFERENT = [
    ("several", "severity"),
    ("cerebral", "cerebritis"),
    ("toxic", "toxicity"),
    ("four", "for"),
    ("A", ""),
    ("aorta", "aortas x"),
    ("antibiotic", "antibiosis"),
]


def lemmas(text):
    tokens = tokenise([text], WordTable())
    return [lemma for position in range(len(tokens)) for lemma in Normaliser()(tokens.word(position)).lemmas]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_word_meet(one, other):
    assert lemmas(one) == lemmas(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_words_stay_apart(one, other):
    assert lemmas(one) != lemmas(other)


def test_stop_words_leave_nothing():
    assert lemmas("the of in") == []


@pytest.mark.parametrize(
    ("name", "stripped"),
    [("Lung (body structure)", "Lung"), ("Carcinoma, NOS", "Carcinoma"), ("Pain (right)", "Pain (right)"), ("NOS", "NOS")],
)
def test_bookkeeping_is_taken_off_names(name, stripped):
    assert strip_name(name) == stripped


@given(st.text(max_size=30))
def test_any_word_is_normalised(word):
    normal = Normaliser()(word)
    assert len(normal.stems) == len(normal.lemmas)


@pytest.mark.parametrize(
    ("file", "columns"), [("triggers.tsv", {3}), ("triggers_fre.tsv", {3}), ("variants.tsv", {2}), ("radiology.tsv", {2, 3})]
)
def test_data_files_are_well_formed(file, columns):
    rows = read_table(file)
    assert {len(row) for row in rows} <= columns
    keys = [row[0] if file != "radiology.tsv" else (row[0], row[1]) for row in rows]
    assert len(set(keys)) == len(keys)
