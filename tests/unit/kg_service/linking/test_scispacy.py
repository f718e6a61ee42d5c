import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.errors import MissingExtra
from kg_service.linking.scispacy import ExactIndex, ScispacyLinker, build_candidate_generator, build_knowledge_base
from kg_service.linking.settings import LinkerSettings
from nbclip_shared.errors import InvalidInput
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity


def test_knowledge_base_has_the_vocabularys_concepts_names_and_types(vocabulary):
    knowledge_base = build_knowledge_base(vocabulary)
    entity = knowledge_base.cui_to_entity["C0032227"]
    assert (entity.canonical_name, entity.aliases, entity.types) == ("Pleural Effusion", ["Effusion, Pleural"], ["T047"])
    assert len(knowledge_base.cui_to_entity) == len(vocabulary)
    assert knowledge_base.alias_to_cuis["Nodule"] == {"C0011847", "C0028259"}


def test_candidate_generator_answers_in_scispacys_form(vocabulary):
    generator = build_candidate_generator(build_knowledge_base(vocabulary))
    nearest, nothing = generator(["pleural effusions", "§§§"], 3)
    assert max(nearest, key=lambda candidate: max(candidate.similarities)).concept_id == "C0032227"
    assert nothing == []


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_exact_index_agrees_with_dense_cosines(seed, k):
    rng = np.random.default_rng(seed)
    alias_AF = rng.random((9, 6)) * (rng.random((9, 6)) > 0.4)
    query_QF = rng.random((4, 6)) * (rng.random((4, 6)) > 0.4) + 1e-3
    alias_AF = alias_AF / np.maximum(np.linalg.norm(alias_AF, axis=1, keepdims=True), 1e-9)
    query_QF = query_QF / np.linalg.norm(query_QF, axis=1, keepdims=True)
    index = ExactIndex(sparse.csr_array(alias_AF.T.astype(np.float32)))
    expected_QA = cosine_similarity(query_QF, alias_AF)
    for (alias, distance), expected_A in zip(index.knnQueryBatch(query_QF.astype(np.float32), k), expected_QA, strict=True):
        best = np.sort(expected_A[expected_A > 0])[::-1][:k]
        np.testing.assert_allclose(1 - distance, best, atol=1e-5)
        np.testing.assert_allclose(expected_A[alias], best, atol=1e-5)


def test_ties_go_to_the_lower_position():
    index = ExactIndex(sparse.csr_array(np.ones((1, 5), np.float32)))
    [(alias, distance)] = index.knnQueryBatch(np.ones((1, 1), np.float32), 3)
    assert (alias.tolist(), distance.tolist()) == ([0, 1, 2], [0.0, 0.0, 0.0])


def test_missing_extra_gives_the_install_line(vocabulary, monkeypatch):
    monkeypatch.setitem(sys.modules, "scispacy.linking_utils", None)
    with pytest.raises(MissingExtra, match=r"nbclip-kg-service\[scispacy\]"):
        ScispacyLinker(vocabulary, LinkerSettings())


def test_unknown_pipeline_is_refused(vocabulary):
    with pytest.raises(InvalidInput, match="no pipeline 'en_core_sci_nosuch'"):
        ScispacyLinker(vocabulary, LinkerSettings(model="en_core_sci_nosuch"))


def test_users_own_pipeline_finds_the_mentions(vocabulary, tmp_path):
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "ENTITY", "pattern": "pleural effusions"}])
    pipeline.to_disk(tmp_path / "pipeline")
    linker = ScispacyLinker(vocabulary, LinkerSettings(model=str(tmp_path / "pipeline")))
    mentions = linker.link(["no pleural effusions, cardiomegaly"])[0].mentions
    assert [(mention.text, mention.cui, mention.assertion) for mention in mentions] == [
        ("pleural effusions", "C0032227", "absent")
    ]
