import json
from functools import partial

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kg_service.linking.scispacy.knowledge import build_candidate_generator, import_scispacy, open_published_generator
from kg_service.linking.scispacy.linker import ScispacyLinker, ScispacySettings
from nbclip.errors import BrokenArtefact, InvalidInput
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

pytestmark = pytest.mark.scispacy


@pytest.fixture(scope="session")
def generator(vocabulary):
    return build_candidate_generator(vocabulary)


@pytest.fixture(scope="session")
def upstream(generator):
    """scispacy's own generator with its own HNSW index; its check of Python's version lifted, and min_df 1 for 10."""
    module = import_scispacy("candidate_generation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "scipy_supports_sparse_float16", lambda: True)
        patch.setattr(module, "TfidfVectorizer", lambda **options: TfidfVectorizer(**{**options, "min_df": 1}))
        aliases, vectorizer, index = module.create_tfidf_ann_index(None, generator.kb)
    return module.CandidateGenerator(index, vectorizer, aliases, generator.kb)


def test_knowledge_base_has_the_vocabularys_concepts_names_and_types(vocabulary, generator):
    entity = generator.kb.cui_to_entity["C0032227"]
    assert (entity.canonical_name, entity.aliases, entity.types) == ("Pleural Effusion", ["Effusion, Pleural"], ["T047"])
    assert entity.definition is None
    assert list(generator.kb.cui_to_entity) == list(vocabulary)
    assert generator.kb.alias_to_cuis["Nodule"] == {"C0011847", "C0028259"}
    assert "nodule" not in generator.kb.alias_to_cuis
    assert "C9999999" not in generator.kb.cui_to_entity


def test_knowledge_base_is_what_scispacy_makes_of_the_same_entities(generator):
    upstream = import_scispacy("linking_utils").KnowledgeBase(generator.kb.cui_to_entity.values())
    assert dict(generator.kb.cui_to_entity) == upstream.cui_to_entity
    assert dict(generator.kb.alias_to_cuis) == upstream.alias_to_cuis


def flat(candidates):
    rows = ((each.concept_id, alias, cosine) for each in candidates for alias, cosine in zip(*each[1:], strict=True))
    return {(concept, alias): cosine for concept, alias, cosine in rows}


@pytest.mark.parametrize("text", ["pleural effusions", "lung", "enlarged hearts", "femoral fractures", "§§§", "", "a"])
def test_candidates_are_scispacys(generator, upstream, text):
    # Of all aliases: HNSW also gives neighbours at similarity 0, which are none.
    ours, theirs = (
        flat(made([text], len(made.ann_concept_aliases_list if made is upstream else made.aliases))[0])
        for made in (generator, upstream)
    )
    theirs = {key: cosine for key, cosine in theirs.items() if cosine > 1e-6}
    assert ours.keys() == theirs.keys()
    np.testing.assert_allclose([ours[key] for key in ours], [theirs[key] for key in ours], atol=1e-5)


@given(st.text(alphabet="abeflnoprsuα -", max_size=20), st.integers(1, 40))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_k_nearest_are_as_similar_as_scispacys(generator, upstream, text, k):
    ours, theirs = (
        sorted({alias: cosine for (_, alias), cosine in flat(made([text], k)[0]).items()}.values(), reverse=True)
        for made in (generator, upstream)
    )
    np.testing.assert_allclose(ours, [cosine for cosine in theirs if cosine > 1e-6][: len(ours)], atol=1e-5)
    assert len(ours) >= sum(cosine > 1e-5 for cosine in theirs)


def test_scispacys_entity_linker_takes_the_generator(generator):
    import spacy

    import_scispacy("abbreviation")
    linker = import_scispacy("linking").EntityLinker(candidate_generator=generator, filter_for_definitions=False)
    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "ENTITY", "pattern": "pleural effusions"}])
    [entity] = linker(pipeline("no pleural effusions")).ents
    assert entity._.kb_ents[0][0] == "C0032227"


def test_no_texts_have_no_candidates(generator):
    assert generator([], 5) == []


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """scispacy's cache with its MeSH as scispacy publishes it: float16 vectors, a vectoriser of scikit-learn 1.2, own ids."""
    entities = [
        {"concept_id": "D010996", "canonical_name": "Pleural Effusion", "aliases": ["Hydrothorax", "Pleural fluid"]},
        {"concept_id": "D008168", "canonical_name": "Lung", "aliases": ["Pulmonary organ"]},
        {"concept_id": "D000001", "canonical_name": "Calcimycin", "aliases": []},
    ]
    aliases = [alias for entity in entities for alias in (entity["canonical_name"], *entity["aliases"])]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32)
    vectors = vectorizer.fit_transform(aliases).tocsr()
    vectorizer._tfidf._idf_diag = sparse.diags(vectorizer._tfidf.idf_)
    del vectorizer._tfidf.idf_
    generation, file_cache = import_scispacy("candidate_generation"), import_scispacy("file_cache")
    monkeypatch.setattr(file_cache, "DATASET_CACHE", str(tmp_path))
    kept = partial(_kept, tmp_path, file_cache)
    paths = generation.DEFAULT_PATHS["mesh"]
    joblib.dump(vectorizer, kept(paths.tfidf_vectorizer))
    with kept(paths.tfidf_vectors).open("wb") as file:
        parts = {"data": vectors.data.astype(np.float16), "indices": vectors.indices, "indptr": vectors.indptr}
        np.savez(file, format=b"csr", shape=np.array(vectors.shape), **parts)
    kept(paths.concept_aliases_list).write_text(json.dumps(aliases))
    kept("https://ai2-s2-scispacy.s3-us-west-2.amazonaws.com/data/kbs/2023-04-23/umls_mesh_2022.jsonl").write_text(
        "".join(json.dumps(entity) + "\n" for entity in entities)
    )
    return tmp_path


def _kept(folder, file_cache, url):
    path = folder / file_cache.url_to_filename(url, '"etag"')
    path.with_name(path.name + ".json").write_text(json.dumps({"url": url, "etag": '"etag"'}))
    return path


def test_published_knowledge_base_is_read_from_the_cache_without_a_network(cache, monkeypatch):
    import requests

    monkeypatch.setattr(requests, "head", None)
    [[found]] = open_published_generator("mesh", floor=0.9)(["hydrothorax"], 5)
    assert (found.concept_id, found.aliases) == ("D010996", ["Hydrothorax"])
    assert found.similarities[0] == pytest.approx(1, abs=1e-3)


def test_vectoriser_of_an_old_scikit_learn_keeps_its_idf(cache):
    generator = open_published_generator("mesh")
    fresh = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32).fit(generator.aliases)
    texts = ["pleural organs", "lungs"]
    np.testing.assert_allclose(generator.vectorizer.transform(texts).toarray(), fresh.transform(texts).toarray(), atol=1e-6)


def test_linker_gives_the_vocabularys_concepts_for_published_ones(vocabulary, cache):
    linker = ScispacyLinker(vocabulary, ScispacySettings(knowledge_base="mesh"))
    mentions = linker.link(["Hydrothorax of the left lung, calcimycin"])[0].mentions
    assert [(mention.text, mention.cui, mention.name) for mention in mentions] == [
        ("Hydrothorax", "C0032227", "Pleural Effusion"),
        ("lung", "C0024109", "Lung"),
    ]
    assert linker.name.endswith("-blank-mesh")


def test_what_is_not_cached_or_not_published_is_refused(cache):
    with pytest.raises(InvalidInput, match="'umls' is not in") as refused:
        open_published_generator("umls")
    assert "CandidateGenerator" in refused.value.hint
    with pytest.raises(InvalidInput, match="publishes no linker 'snomed'"):
        open_published_generator("snomed")


@pytest.mark.parametrize("suffix", [".joblib", ".npz", "aliases.json", ".jsonl"])
def test_damaged_copies_are_named(cache, suffix):
    [path] = [path for path in cache.iterdir() if path.name.endswith(suffix)]
    path.write_bytes(b"{damaged")
    with pytest.raises(BrokenArtefact, match="'mesh' can't be read"):
        open_published_generator("mesh")
