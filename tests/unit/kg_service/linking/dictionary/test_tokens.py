import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking.dictionary.tokens import BAG, EXACT, FOLDED, KEY, LEMMAS, STEMS, WordTable, tokenise
from kg_service.linking.grammar import GRAMMARS
from kg_service.linking.triggers import RULING, phrases_of, table

TABLE = WordTable()
WORDS = ["lung", "Lungs", "edema", "of", "X-ray", "β", "pre-op", "Crohn's", "1.5", "xray", "naïve", "e\u0301dema"]


def words_of(tokens):
    return [tokens.word(position) for position in range(len(tokens))]


def whole(text, column):
    tokens = tokenise([text], TABLE)
    return int(tokens.run_hash(column, np.array([0]), np.array([len(tokens)]))[0])


@given(st.lists(st.sampled_from(WORDS), max_size=6), st.randoms())
def test_sums_do_not_depend_on_order(words, random):
    shuffled = " ".join(random.sample(words, len(words)))
    assert whole(" ".join(words), KEY) == whole(shuffled, KEY)
    assert whole(" ".join(words), BAG) == whole(shuffled, BAG)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("lung edema", "edema of the lung", {KEY, BAG}),
        ("Chest X-ray", "chest x ray", {KEY, BAG, LEMMAS, FOLDED}),
        ("Chest X-ray", "chest xray", {KEY, BAG, LEMMAS}),
        ("dilated duct", "dilatation duct", {KEY}),
        ("Crohn 's disease", "Crohn's disease", {KEY, BAG, LEMMAS}),
        ("CTs", "CT", {KEY, BAG, LEMMAS, EXACT}),
        ("lung", "liver", set()),
    ],
)
def test_hashes_say_what_two_texts_share(one, other, equal):
    assert {column for column in range(5) if whole(one, column) == whole(other, column)} == equal


@given(st.lists(st.text(max_size=20) | st.sampled_from(WORDS).map(lambda word: f"a {word}, b."), max_size=5))
def test_words_lie_where_they_are_said_to(texts):
    tokens = tokenise(texts, TABLE)
    assert tokens.bounds[-1] == len(tokens)
    for i, text in enumerate(texts):
        for word in range(tokens.bounds[i], tokens.bounds[i + 1]):
            assert text[tokens.starts[word] : tokens.ends[word]] == tokens.word(word)


@given(st.lists(st.text(max_size=20), min_size=2, max_size=4))
def test_a_run_has_the_same_hashes_in_any_batch(texts):
    together = tokenise(texts, TABLE)
    alone = tokenise(texts[-1:], TABLE)
    first = together.bounds[-2:-1]
    for column in range(5):
        expected = alone.run_hash(column, np.array([0]), np.array([len(alone)]))
        assert together.run_hash(column, first, together.bounds[-1:]) == expected


def test_barriers_part_and_joints_join():
    tokens = tokenise(["post-operative lung. Crohn's 1.5 mm, (liver)"], TABLE)
    assert words_of(tokens) == ["post-operative", "lung", "Crohn's", "1.5", "mm", "liver"]
    assert np.diff(tokens.segments).astype(bool).tolist() == [False, True, False, False, True]
    assert np.diff(tokens.commas).tolist() == [0, 0, 0, 0, 1]
    assert tokens.counts[:, STEMS].tolist() == [1] * 6


@pytest.mark.parametrize("text", ["Pas d'épanchement", "pneumothorax e\u0301limine\u0301", "L'embolie peut-être", "Aucune masse"])
def test_captions_with_french_words_that_rule_are_telling(text):
    assert tokenise([text], WordTable()).telling.tolist() == [True]


@pytest.mark.parametrize("language", GRAMMARS)
def test_captions_with_a_phrase_that_rules_are_telling(language):
    phrases = [words for words, rule in phrases_of(table(language).phrases) if rule.kind in RULING]
    short_forms = [
        short for short, words in table(language).short_forms.items() if words in phrases or words[:2] == ("history", "of")
    ]
    texts = [" ".join(words) for words in phrases] + short_forms
    texts += [f"{word}n't seen" for word in ("is", "was", "were", "do", "does", "did", "has", "had", "ca", "could")]
    telling = tokenise([f"a {text} b" for text in texts], WordTable()).telling
    assert [text for text, tells in zip(texts, telling, strict=True) if not tells] == []
