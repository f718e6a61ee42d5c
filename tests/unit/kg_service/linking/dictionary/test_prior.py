import json
import re
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from kg_service.linking.dictionary.prior import fit_prior, open_prior, save_prior
from nbclip.errors import BrokenArtefact, NotFound

NODULE, OTHER_NODULE, EFFUSION, LUNG, AORTA = "C0028259", "C0011847", "C0013687", "C0024109", "C0003483"


@dataclass(frozen=True)
class Labelled:
    text: str
    spans: tuple = ()
    cuis: frozenset = frozenset()


def spanned(text, **concepts):
    spans = [(text.index(word), text.index(word) + len(word), frozenset({cui})) for word, cui in concepts.items()]
    return Labelled(text, tuple(spans), frozenset(concepts.values()))


@pytest.fixture
def fitted(vocabulary, dictionary_linker, linker_with, tmp_path):
    def fit(documents, **options):
        prior = fit_prior(documents, dictionary_linker)
        save_prior(prior, tmp_path / "prior", vocabulary, linker=dictionary_linker.name, captions=len(documents))
        return linker_with(prior=tmp_path / "prior", **options)

    return fit


def found(linker, caption):
    return [(mention.text, mention.cui, mention.rule) for mention in linker.link([caption])[0].mentions]


def test_spans_teach_which_concept_a_name_means(fitted, dictionary_linker):
    assert found(dictionary_linker, "a nodule")[0][1] == NODULE
    linker = fitted([spanned(f"a nodule {i}", nodule=OTHER_NODULE) for i in range(8)])
    assert found(linker, "one nodule") == [("nodule", OTHER_NODULE, "learned")]
    mention = linker.link(["one nodule"])[0].mentions[0]
    assert mention.score > 0.9
    assert found(linker, "the aorta") == [("aorta", AORTA, "case")]


def test_spans_teach_names_that_are_never_meant_and_new_ones(fitted):
    linker = fitted([spanned(f"the aorta and a blob {i}", blob=NODULE) for i in range(8)])
    assert found(linker, "aorta with blobs") == [("blobs", NODULE, "learned")]


def test_texts_teach_what_words_bring(fitted):
    texts = [("blob in air", {NODULE, LUNG}), ("blob in water", {NODULE}), ("haze in air", {LUNG}), ("haze in water", set())]
    linker = fitted([Labelled(text, (), frozenset(cuis)) for text, cuis in texts * 6])
    assert {cui for _, cui, _ in found(linker, "blob, water")} == {NODULE}
    assert {cui for _, cui, _ in found(linker, "air, haze")} == {LUNG}


def test_one_word_can_bring_several_concepts(fitted):
    linker = fitted([Labelled(f"blob {i}", (), frozenset({NODULE, LUNG})) for i in range(8)])
    assert [(text, cui) for text, cui, _ in found(linker, "a blob")] == [("blob", LUNG), ("blob", NODULE)]


def texts(*pairs):
    return [Labelled(f"{text} {i}", (), frozenset(cuis)) for i, (text, cuis) in enumerate(pairs)]


@pytest.mark.parametrize(("without", "expected"), [(1, [AORTA]), (2, [])])
def test_one_text_without_its_label_does_not_refute_an_exact_name(fitted, without, expected):
    linker = fitted(texts(*[("aorta", ())] * without))
    assert [cui for _, cui, _ in found(linker, "the aorta")] == expected


@pytest.mark.parametrize(("labelled", "expected"), [(2, []), (3, [NODULE])])
def test_three_texts_teach_a_word_what_is_no_name_of_it(fitted, labelled, expected):
    linker = fitted(texts(*[("blob", (NODULE,))] * labelled))
    assert [cui for _, cui, _ in found(linker, "a blob")] == expected


def test_a_label_goes_to_its_own_name_and_not_to_the_words_beside_it(fitted):
    linker = fitted(texts(*[("blob at the aorta", (AORTA,))] * 6))
    assert found(linker, "blob") == []
    assert [cui for _, cui, _ in found(linker, "aorta")] == [AORTA]


def test_concepts_that_often_go_together_keep_their_own_words(fitted):
    linker = fitted(texts(*[("effusion at the aorta", (AORTA, EFFUSION))] * 6))
    assert {(text, cui) for text, cui, _ in found(linker, "effusion. aorta")} == {("effusion", EFFUSION), ("aorta", AORTA)}


def test_the_assertion_is_that_of_the_concepts_own_name(fitted):
    linker = fitted(texts(*[("blob", (EFFUSION,))] * 8))
    assert [(m.cui, m.assertion) for m in linker.link(["no blob"])[0].mentions] == [(EFFUSION, "absent")]
    for caption in ("no blob, effusion", "Effusion. No blob."):
        assert [(m.cui, m.assertion) for m in linker.link([caption])[0].mentions] == [(EFFUSION, "present")], caption


def test_noisy_or_with_one_word_is_the_share_of_its_texts(dictionary_linker):
    """By hand: k of n texts bring it, so the share is k / (n + 4) for no name, and (k + 1.3) / (n + 2) for an exact one."""
    prior = fit_prior(texts(*[("blob", (NODULE,))] * 5, *[("blob", ())] * 2, *[("aorta", (AORTA,))] * 4), dictionary_linker)
    shares = {int(cui): float(share) for cui, share in zip(prior.cuis, prior.shares, strict=True)}
    assert shares == {28259: pytest.approx(5 / 11), 3483: pytest.approx(5.3 / 6)}


def test_spans_that_never_nest_teach_that_the_longest_name_is_meant(fitted, dictionary_linker):
    assert [text for text, *_ in found(dictionary_linker, "left lung")] == ["left lung", "lung"]
    flat = [spanned(f"a nodule {i}", nodule=NODULE) for i in range(3)]
    assert [text for text, *_ in found(fitted(flat), "left lung")] == ["left lung"]
    assert [text for text, *_ in found(fitted(flat, nested="all"), "left lung")] == ["left lung", "lung"]
    nested = Labelled("left lung", ((0, 9, frozenset({"C0225730"})), (5, 9, frozenset({LUNG}))), frozenset({"C0225730", LUNG}))
    assert [text for text, *_ in found(fitted([*flat, nested]), "left lung")] == ["left lung", "lung"]


def test_a_prior_tells_forms_of_a_word_apart_but_for_number(fitted):
    linker = fitted([spanned(f"the studies {i}", studies=NODULE) for i in range(8)])
    assert found(linker, "a study") == [("study", NODULE, "learned")]
    assert found(linker, "was studied") == []


def test_same_documents_give_the_same_prior(dictionary_linker):
    documents = [spanned(f"a nodule near the lung {i}", nodule=OTHER_NODULE, lung=LUNG) for i in range(600)]
    one, other = fit_prior(documents, dictionary_linker), fit_prior(documents, dictionary_linker)
    for name in ("keys", "seen", "rows", "cuis", "shares"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.shares[one.cuis == 11847] > 0.99).all()


def test_semantic_types_and_batches_hold_with_a_prior(fitted):
    documents = [Labelled(f"blob {i}", (), frozenset({NODULE, LUNG})) for i in range(8)]
    linker = fitted(documents, semantic_types=("T047",))
    assert [cui for _, cui, _ in found(linker, "a blob")] == [NODULE]
    captions = ["a blob", "the aorta, blob", "", "effusion"] * 100
    assert linker.link(captions) == [linker.link([caption])[0] for caption in captions]


def test_its_name_says_which_prior_a_linker_has(fitted, dictionary_linker, tmp_path):
    one = fitted([spanned("a nodule", nodule=NODULE)]).name
    assert re.fullmatch(r"dictionary-\d+\+prior:[0-9a-f]{8}", one)
    assert one.startswith(f"{dictionary_linker.name}+")
    assert fitted([spanned("a nodule", nodule=NODULE)]).name == one
    assert fitted([spanned("a nodule", nodule=OTHER_NODULE)]).name != one
    manifest = json.loads((tmp_path / "prior" / "manifest.json").read_text())
    assert (manifest["linker"], manifest["captions"]) == (dictionary_linker.name, 1)


def test_a_missing_or_damaged_prior_is_refused(fitted, vocabulary, dictionary_linker, tmp_path):
    def open_one(folder):
        return open_prior(tmp_path / folder, vocabulary, dictionary_linker.name)

    with pytest.raises(NotFound):
        open_one("none")
    fitted([spanned("a nodule", nodule=NODULE)])
    assert open_one("prior").id
    (tmp_path / "prior" / "cuis.npy").write_bytes(b"")
    with pytest.raises(BrokenArtefact):
        open_one("prior")


def test_a_prior_of_another_vocabulary_or_version_is_refused_with_the_way_out(fitted, vocabulary, dictionary_linker, tmp_path):
    fitted([spanned("a nodule", nodule=NODULE)])
    other = SimpleNamespace(sha256="0" * 64, directory="elsewhere")
    with pytest.raises(BrokenArtefact, match="another vocabulary than elsewhere") as refused:
        open_prior(tmp_path / "prior", other, dictionary_linker.name)
    assert "kg-service linker fit" in refused.value.hint
    with pytest.raises(BrokenArtefact, match="but this is dictionary-0"):
        open_prior(tmp_path / "prior", vocabulary, "dictionary-0")
    assert open_prior(tmp_path / "prior", vocabulary, "dictionary-0", alike=[dictionary_linker.name]).id
