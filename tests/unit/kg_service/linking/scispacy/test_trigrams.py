import numpy as np
import pytest
from kg_service.linking.scispacy import trigrams
from kg_service.linking.scispacy.trigrams import build_trigram_index, ensure_trigram_index, open_trigram_index, trigram_folder
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import BrokenArtefact, InvalidInput, NotFound
from sklearn.feature_extraction.text import TfidfVectorizer

WORDS = ["Pleural", "effusion", "of", "lung", "α-angle", "🫁", "ÉCHO", "T1", "\u2028", "heart", "--", "a"]
NAMES = sorted({" ".join(part) for i in range(200) for part in [np.random.default_rng(i).choice(WORDS, 1 + i % 5)]})


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A vocabulary whose every seventh name belongs to two concepts."""
    folder = tmp_path_factory.mktemp("rrf")
    rows = [(i, name) for i, name in enumerate(NAMES)] + [(i + 1, name) for i, name in enumerate(NAMES) if i % 7 == 0]
    (folder / "MRCONSO.RRF").write_text(
        "".join(f"C{cui:07d}|ENG|P|L1|PF|S1|Y|A1||||MSH|PT|X1|{name}|0|N||\n" for cui, name in rows), encoding="utf-8"
    )
    (folder / "MRSTY.RRF").write_text("".join(f"C{cui:07d}|T047|A1|type|AT1||\n" for cui in range(len(NAMES) + 1)))
    (folder / "MRREL.RRF").write_text("")
    build_vocabulary(folder, folder / "vocabulary")
    return open_vocabulary(folder / "vocabulary")


def texts_of(vocabulary, index):
    return [vocabulary.name_text(index.names_of(alias)[0]) for alias in range(len(index))]


@pytest.mark.parametrize(("batch", "min_names"), [(1 << 16, 1), (7, 1), (7, 10)])
def test_vectors_are_those_of_scikit_learn(many, tmp_path, monkeypatch, batch, min_names):
    monkeypatch.setattr(trigrams, "_BATCH", batch)
    monkeypatch.setattr(trigrams, "_MIN_NAMES", min_names)
    monkeypatch.setattr(trigrams, "_SMALL_VOCABULARY", 0)
    build_trigram_index(many, tmp_path / "index")
    index = open_trigram_index(tmp_path / "index", many)
    texts = texts_of(many, index)
    oracle = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), min_df=min_names, dtype=np.float32)
    expected_AF = oracle.fit_transform(texts)
    assert index.vectorizer().vocabulary_ == oracle.vocabulary_
    np.testing.assert_allclose(index.weights_FA.toarray().T, expected_AF.toarray(), atol=1e-6)
    queries = ["pleural effusions", "§§§", "", "lung of α"]
    np.testing.assert_allclose(index.vectorizer().transform(queries).toarray(), oracle.transform(queries).toarray(), atol=1e-6)
    assert index.weights_FA.has_sorted_indices


def test_aliases_are_the_distinct_names_with_all_their_concepts(many):
    index = ensure_trigram_index(many)
    texts = texts_of(many, index)
    assert sorted(texts) == sorted(set(many.name_texts(0, many.name_count)))
    for alias, text in enumerate(texts):
        assert [many.name_text(name) for name in index.names_of(alias)] == [text] * len(index.names_of(alias))
        assert index.find(text) == alias
    assert sorted(name for alias in range(len(index)) for name in index.names_of(alias)) == list(range(many.name_count))
    assert index.find("no such name") is None


def test_index_is_built_once_and_again_for_another_vocabulary(many, vocabulary, tmp_path):
    folder = trigram_folder(many.directory)
    ensure_trigram_index(many)
    built = (folder / "manifest.json").stat().st_mtime_ns
    ensure_trigram_index(many)
    assert (folder / "manifest.json").stat().st_mtime_ns == built
    with pytest.raises(BrokenArtefact, match="a vocabulary other than"):
        open_trigram_index(folder, vocabulary)
    with pytest.raises(NotFound):
        open_trigram_index(tmp_path / "none", many)


def test_two_builds_are_equal_byte_for_byte(many, tmp_path):
    for name in ("one", "two"):
        build_trigram_index(many, tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_spool_is_removed(many, tmp_path):
    build_trigram_index(many, tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_names_without_a_word_are_no_index(tmp_path):
    (tmp_path / "MRCONSO.RRF").write_text("C0000001|ENG|P|L1|PF|S1|Y|A1||||MSH|PT|X1|\u2028|0|N||\n", encoding="utf-8")
    (tmp_path / "MRSTY.RRF").write_text("C0000001|T047|A1|type|AT1||\n")
    (tmp_path / "MRREL.RRF").write_text("")
    build_vocabulary(tmp_path, tmp_path / "vocabulary")
    with pytest.raises(InvalidInput, match="no names to search"):
        build_trigram_index(open_vocabulary(tmp_path / "vocabulary"), tmp_path / "index")
