from dataclasses import dataclass

import numpy as np
import pytest
from kg_service.linking.prior import fit_prior, open_prior, save_prior
from nbclip_shared.errors import BrokenArtefact, NotFound

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
def fitted(dictionary_linker, linker_with, tmp_path):
    def fit(documents, **options):
        save_prior(fit_prior(documents, dictionary_linker), tmp_path / "prior")
        return linker_with(prior=str(tmp_path / "prior"), **options)

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


def test_a_missing_or_damaged_prior_is_refused(fitted, tmp_path):
    with pytest.raises(NotFound):
        open_prior(tmp_path / "none")
    fitted([spanned("a nodule", nodule=NODULE)])
    (tmp_path / "prior" / "cuis.npy").write_bytes(b"")
    with pytest.raises(BrokenArtefact):
        open_prior(tmp_path / "prior")
