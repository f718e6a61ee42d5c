"""Words of names, against Python's regular expressions."""

import re

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.storage.strings import Strings
from kg_service.vocabulary.words import WordFiles, words_of

TEXTS = st.lists(st.text("aAbBzZ09 -_+.|'éÉßİıΣςαжЖ中²½٣\u0301\u00a0\u2013", max_size=12), max_size=12)


def expected(texts):
    """Word to the positions of the names that have it."""
    found = {}
    for position, text in enumerate(texts):
        # One character at a time, as simple case mapping goes: ς does not depend on its place, İ is one letter.
        lower = "".join(char.lower()[0] for char in text)
        for word in set(re.findall(r"[^\W_]+", lower)):
            found.setdefault(word, []).append(position)
    return found


@given(texts=TEXTS)
@settings(max_examples=300, deadline=None)
def test_words_are_runs_of_letters_and_digits_in_lower_case(texts):
    # A slice, as batches are: its offsets do not begin at 0.
    words = words_of(pa.array(["before", *texts], pa.large_string())[1:])
    names = np.split(words.name, np.cumsum(words.count)[:-1]) if len(words.word) else []
    assert {word: name.tolist() for word, name in zip(words.word.to_pylist(), names, strict=True)} == expected(texts)


@given(batches=st.lists(TEXTS, max_size=5))
@settings(max_examples=40, deadline=None)
def test_words_of_batches_are_those_of_all_names(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("words")
    with WordFiles(folder) as files:
        first = 0
        for texts in batches:
            files.add(words_of(pa.array(texts, pa.large_string())), first)
            first += len(texts)
        count = files.write(folder)
    arrays = {path.stem: np.load(path) for path in folder.iterdir()}
    words = Strings(arrays["word_offsets"], arrays["word_data"])
    postings = np.split(arrays["postings"], arrays["word_names"][1:-1])
    found = {words[i]: postings[i].tolist() for i in range(count)}
    assert list(found.items()) == sorted(
        expected([text for texts in batches for text in texts]).items(), key=lambda item: item[0].encode()
    )
