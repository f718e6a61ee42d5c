import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking.normaliser import Normaliser, read_table, strip_name

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
    ("masses", "mass"),
]
DIFFERENT = [
    ("several", "severity"),
    ("cerebral", "cerebritis"),
    ("toxic", "toxicity"),
    ("four", "for"),
    ("A", ""),
    ("aorta", "aortas x"),
]


def lemmas(text):
    return [lemma for word in Normaliser().words(text) for lemma in word.lemmas]


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


@given(st.lists(st.sampled_from(["lung", "Lungs", "edema", "of", "X-ray", "β", "pre-op"]), max_size=5), st.randoms())
def test_key_is_that_of_a_bag(words, random):
    normalise = Normaliser()
    shuffled = random.sample(words, len(words))
    assert sum(normalise(word).key for word in words) == sum(normalise(word).key for word in shuffled)


@given(st.text(max_size=30))
def test_any_text_is_normalised(text):
    for word in Normaliser().words(text):
        assert len(word.stems) == len(word.lemmas)
        assert 0 <= word.key < 2**64


@pytest.mark.parametrize(
    ("file", "columns"), [("triggers.tsv", {3}), ("variants.tsv", {2}), ("radiology.tsv", {2, 3}), ("semantic_groups.tsv", {2})]
)
def test_data_files_are_well_formed(file, columns):
    rows = read_table(file)
    assert {len(row) for row in rows} <= columns
    keys = [row[0] if file != "radiology.tsv" else (row[0], row[1]) for row in rows]
    assert len(set(keys)) == len(keys)


def test_every_trigger_has_a_known_kind_and_side():
    assert {(row[1], row[2]) for row in read_table("triggers.tsv")} <= {
        (kind, side) for kind in ("absent", "uncertain", "pseudo", "stop") for side in ("after", "before")
    }
