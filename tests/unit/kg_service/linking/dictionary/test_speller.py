import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking.dictionary.normaliser import Normaliser
from kg_service.linking.dictionary.speller import Speller, build_speller
from kg_service.storage.strings import Strings
from kg_service.vocabulary.search import WordIndex

LETTERS = "abcdefghijklmnopqrstuvwxyz"
COUNTS = {
    "cardiomegaly": 9,
    "effusion": 40,
    "labium": 9,
    "multilocular": 9,
    "pneumothorax": 2,
    "rare": 9,
    "stenosis": 9,
    "stenosus": 8,
    "scarce": 1,
    "osteopenia": 1,
}
NORMALISE = Normaliser()


@pytest.fixture(scope="module")
def speller():
    words = sorted(COUNTS)
    data = np.frombuffer("".join(words).encode(), np.uint8)
    offsets = np.cumsum([0, *map(len, words)])
    index = WordIndex(Strings(offsets, data), np.cumsum([0, *(COUNTS[word] for word in words)]), np.zeros(0, np.int32))
    return Speller(**build_speller(index), words=index)


def right(speller, word):
    return speller.correct([(word, NORMALISE(word).stems)])[0]


@given(
    st.sampled_from(["cardiomegaly", "effusion", "pneumothorax"]),
    st.integers(1, 11),
    st.sampled_from(LETTERS),
    st.sampled_from("idxs"),
)
def test_one_edit_is_mended_and_only_one(speller, word, at, letter, kind):
    at = min(at, len(word) - 2)
    match kind:
        case "i":
            wrong = word[:at] + letter + word[at:]
        case "d":
            wrong = word[:at] + word[at + 1 :]
        case "x":
            wrong = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case _:
            wrong = word[:at] + letter + word[at + 1 :]
    # Another form of the word, such as its plural, has its stem: that is no misspelling.
    other_form = NORMALISE(wrong).stems == NORMALISE(word).stems
    assert right(speller, wrong) == (None if other_form or wrong == word else word)


def test_a_long_word_need_be_in_one_name_alone(speller):
    assert right(speller, "osteopennia") == "osteopenia"


@pytest.mark.parametrize(
    "word",
    [
        "cardomegally",  # two edits
        "pardiomegaly",  # another first letter
        "labrum",  # another letter, in a short word
        "effusions",  # another form
        "efusio",  # two edits
        "lesson",  # general English
        "stenosos",  # of two words, neither is used by far more
        "rarre",  # too short
        "scarrce",  # one name alone has the word, and it is short
        "multilocul4r",
        "épanchement",
    ],
)
def test_what_is_not_safely_a_misspelling_is_left_alone(speller, word):
    assert right(speller, word) is None


def test_a_vocabulary_without_words_mends_nothing():
    empty = WordIndex(Strings(np.zeros(1, np.int64), np.zeros(0, np.uint8)), np.zeros(1, np.int64), np.zeros(0, np.int32))
    assert right(Speller(**build_speller(empty), words=empty), "cardiomegally") is None
