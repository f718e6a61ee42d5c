"""Every method of the table keeps the contract that snapshots, appends and explanations build on."""

import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.config import load_settings, variables_of, with_settings
from kg_service.errors import MissingExtra, OtherVersion
from kg_service.representations.from_cards import representations_of_cards, restore
from kg_service.representations.from_settings import representations_of, with_control
from kg_service.representations.methods import METHODS, method_named, require
from kg_service.representations.weights import attribute_matrix
from kg_service.similarity.kernel import similarity
from kg_service.similarity.rows import has_knowledge
from nbclip.errors import InvalidInput
from support.small_graphs import graph_of, random_graphs

GRAPH = graph_of([[0], [0, 1], [2], [1, 2, 3], []], [(0, 4), (1, 5), (2, 5)], count=6)


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KG_TRANSE_EPOCHS", "2")
    monkeypatch.setenv("KG_REPRESENTATIONS", ",".join(METHODS))


def bits(vectors):
    sparse = vectors.sparse
    return [each.tobytes() for each in (sparse.indptr, sparse.indices, sparse.data, vectors.dense)]


def fitted_on(graph):
    found = representations_of(load_settings())
    return {(name, knowledge): form for name, each in found.items() for knowledge, form in each.variants(graph).items()}


def given_back(form, graph):
    """From what a snapshot keeps of it."""
    return restore(json.loads(json.dumps(form.card())), graph.cuis, form.tables())


@pytest.mark.parametrize("name", METHODS)
def test_it_declares_itself_once(name, monkeypatch):
    method = method_named(name)
    assert re.fullmatch(r"[a-z0-9_-]{1,64}", name)
    assert method_named(method.name).parameters is method.parameters
    monkeypatch.delenv("KG_TRANSE_EPOCHS")
    assert with_settings(method.settings, method.name, load_settings()) == method.settings
    names = {field.name for field in fields(method.settings)}
    assert all(variable.key.removeprefix(f"{method.name}_") in names for variable in variables_of(method.settings, method.name))
    assert all(variable.meaning for variable in variables_of(method.settings, method.name))
    assert method.packages or not method.extra
    require(method)


@settings(deadline=None, max_examples=10)
@given(random_graphs(), st.randoms())
def test_similarity_is_symmetric_and_bounded_with_the_diagonal_1_where_an_image_has_a_concept(graph, shuffler):
    rows = np.array(shuffler.sample(range(len(graph.image_ids)), len(graph.image_ids)))
    for variant, form in fitted_on(graph).items():
        vectors = form.embed_known(graph.image_ids, attribute_matrix(graph))
        assert len(vectors) == len(rows)
        assert has_knowledge(vectors, rows).tolist() == (np.diff(graph.attribute_indptr) > 0)[rows].tolist(), variant
        values = similarity(vectors, rows, rows)
        assert np.array_equal(values, values.T), variant
        assert np.allclose(np.diag(values), 1, atol=1e-6), variant
        assert np.abs(values).max() <= 1 + 1e-6
        dots = vectors.sparse.toarray() @ vectors.sparse.toarray().T + vectors.dense @ vectors.dense.T
        assert np.linalg.eigvalsh(dots.astype(np.float64)).min() > -1e-5, variant


@settings(deadline=None, max_examples=10)
@given(random_graphs(), st.randoms())
def test_fitted_again_or_given_back_by_card_and_tables_it_gives_the_same_bits_to_any_images(graph, shuffler):
    known = attribute_matrix(graph)
    rows = np.array(shuffler.choices(range(len(graph.image_ids)), k=4))
    new = known[rows]
    ids = [f"new {row}" for row in range(4)]
    again = fitted_on(graph)
    for variant, form in fitted_on(graph).items():
        restored = given_back(form, graph)
        assert restored.card() == form.card()
        for other in (restored, again[variant]):
            assert bits(other.embed_known(ids, new)) == bits(form.embed_known(ids, new)), variant
        assert restored.follows_from_concepts == form.follows_from_concepts
        if form.follows_from_concepts:
            whole, part = form.embed_known(graph.image_ids, known), restored.embed_known(graph.image_ids[1:3], known[1:3])
            assert np.array_equal(part.sparse.toarray(), whole.sparse[1:3].toarray()), variant
            assert np.array_equal(part.dense, whole.dense[1:3]), variant


@settings(deadline=None, max_examples=10)
@given(random_graphs(), st.data())
def test_where_it_says_so_its_parts_add_up_to_the_similarity(graph, data):
    one, other = (data.draw(st.sampled_from(range(len(graph.image_ids)))) for _ in range(2))
    sets = np.split(graph.attribute_indices, graph.attribute_indptr[1:-1])
    for variant, form in fitted_on(graph).items():
        account = given_back(form, graph).contributions(sets[one], sets[other])
        assert account.pair_share.shape == (len(sets[one]), len(sets[other]))
        assert account.left_reaches.shape == (len(sets[one]), len(account.meeting))
        assert account.right_reaches.shape == (len(sets[other]), len(account.meeting))
        assert account.account
        if account.additive:
            vectors = form.embed_known(["l", "r"], attribute_matrix(graph)[[one, other]])
            dot = float(vectors.sparse[[0]].toarray()[0] @ vectors.sparse[[1]].toarray()[0] + vectors.dense[0] @ vectors.dense[1])
            assert account.meeting_share.sum() + account.pair_share.sum() == pytest.approx(dot, abs=1e-5), variant


def test_the_cards_of_a_snapshot_name_what_it_was_fitted_with():
    cards = {"/".join(variant): json.loads(json.dumps(form.card())) for variant, form in fitted_on(GRAPH).items()}
    again = {
        (name, knowledge): form
        for name, each in representations_of_cards(cards).items()
        for knowledge, form in each.variants(GRAPH).items()
    }
    assert {"/".join(variant): form.card() for variant, form in again.items()} == cards


def test_cards_stay_as_published_snapshots_have_them():
    """Their bytes are in the digest that names a snapshot."""
    hybrid = {
        "method": "hybrid", "ancestors": True, "ancestor_weight": 4.0, "decay": 0.5, "max_distance": 6, "hub_share": 0.1,
        "smoothing": 6.0, "smoothing_dimension": 32, "smoothing_frequency": 0.25, "shrinkage": 10.0, "redundancy": 1.0,
        "images": 5, "concepts": 6,
        "inductive": "new captions, by their concepts; concepts that no image had are left out",
    }  # fmt: skip
    transe = {
        "method": "transe", "ancestors": True, "dimension": 128, "margin": 5.0, "norm": "l1", "negatives": 8,
        "sampling": "bernoulli", "epochs": 2, "batch": 1024, "optimiser": "adagrad", "rate": 0.1, "images": "mean",
        "seed": 42, "triples": 10,
        "inductive": "new captions, by their concepts",
    }  # fmt: skip
    noise = {
        "method": "noise",
        "dimension": 64,
        "seed": 42,
        "generator": "splitmix64",
        "inductive": "any image with a known concept",
    }
    cards = {variant: form.card() for variant, form in fitted_on(GRAPH).items()}
    learned = [cards[variant].pop(name) for name in ("loss", "transe_loss") for variant in cards if name in cards[variant]]
    assert len(learned) == 4
    assert all(isinstance(loss, float) for loss in learned)

    def both(first, second):
        parts = {f"{part['method']}_{name}": value for part in (first, second) for name, value in part.items()}
        return {"method": "both", "weight": 0.5, **parts, "inductive": second["inductive"]}

    concepts = {name: value for name, value in hybrid.items() if name != "smoothing_frequency"} | {"smoothing": 0.0}
    hybrid_dk, transe_dk = {**hybrid, "ancestors": False}, {**transe, "ancestors": False, "triples": 7}
    expected = {
        ("hybrid", "dk_ek"): hybrid,
        ("hybrid", "dk"): hybrid_dk,
        ("concepts", "dk_ek"): concepts,
        ("concepts", "dk"): {**concepts, "ancestors": False},
        ("transe", "dk_ek"): transe,
        ("transe", "dk"): transe_dk,
        ("both", "dk_ek"): both(hybrid, transe),
        ("both", "dk"): both(hybrid_dk, transe_dk),
        ("noise", "noise"): noise,
    }
    assert {variant: json.dumps(card, sort_keys=True) for variant, card in cards.items()} == {
        variant: json.dumps(card, sort_keys=True) for variant, card in expected.items()
    }


def test_names_that_are_not_known_are_refused_with_those_that_are(monkeypatch):
    monkeypatch.setenv("KG_REPRESENTATIONS", "word2vec")
    with pytest.raises(InvalidInput, match=r"'word2vec'.*hybrid, concepts, transe, both, noise"):
        representations_of(load_settings())
    with pytest.raises(OtherVersion, match=r"another version: its representation 'word2vec' .*snapshot publish"):
        restore({"method": "word2vec"}, (), {})
    with pytest.raises(OtherVersion, match="another version: its representation None"):
        representations_of_cards({"hybrid/dk": {}})
    with pytest.raises(OtherVersion, match="another version: its model card lacks 'decay'"):
        representations_of_cards({"hybrid/dk": {"method": "hybrid", "ancestors": True}})


def test_a_card_of_before_a_parameter_was_added_has_what_was_then():
    form = fitted_on(GRAPH)["transe", "dk"]
    former = {name: value for name, value in form.card().items() if name != "norm"}
    assert restore(former, GRAPH.cuis, form.tables()).parameters == form.parameters
    assert representations_of_cards({"transe/dk": former})["transe"].norm == "l1"


def test_what_is_not_installed_is_named_before_anything_is_fitted():
    method = replace(method_named("transe"), extra="gpu", packages=("numba", "nbclip-no-such-package"))
    with pytest.raises(MissingExtra, match=r"'transe' needs the extra 'gpu'.*nbclip-kg-service\[gpu\]"):
        require(method)


def test_the_control_is_always_there_with_the_parameters_that_were_given():
    assert with_control().keys() == {"hybrid", "noise"}
    assert with_control({"mine": GRAPH}).keys() == {"mine", "noise"}
    noise = replace(representations_of(load_settings(noise_seed=7))["noise"], dimension=8)
    assert with_control({"noise": noise}) == {"noise": noise}
    assert noise.seed == 7
