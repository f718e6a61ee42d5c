"""Semantic types in the spellings that people write."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.vocabulary.semantic_groups import group_types
from kg_service.vocabulary.semantic_types import semantic_types_of
from nbclip.errors import InvalidInput

NAMES = {
    "T023": "Body Part, Organ, or Organ Component",
    "T033": "Finding",
    "T047": "Disease or Syndrome",
    "T060": "Diagnostic Procedure",
    "T184": "Sign or Symptom",
}


def meant(*texts):
    return semantic_types_of(texts, NAMES, "the vocabulary", "KG_SEMANTIC_TYPES")


@pytest.mark.parametrize(
    ("text", "tuis"),
    [
        ("T047", ["T047"]),
        ("t047", ["T047"]),
        ('["T047"]', ["T047"]),
        ('["T047", "T033"]', ["T047", "T033"]),
        ("[T047, T033]", ["T047", "T033"]),
        ("('T047', 'T033')", ["T047", "T033"]),
        ("T047,T033", ["T047", "T033"]),
        ("T047 T033", ["T047", "T033"]),
        ("T047;T033\nT060|T184", ["T047", "T033", "T060", "T184"]),
        ('"T047"', ["T047"]),
        ("Disease or Syndrome", ["T047"]),
        ("disease_or_syndrome", ["T047"]),
        ("FINDING, Sign or Symptom", ["T033", "T184"]),
        ("Body Part, Organ, or Organ Component, T047", ["T023", "T047"]),
        ("T047 Disease or Syndrome", ["T047"]),
        ("T047: Disease or Syndrome", ["T047"]),
        ("DISO", ["T033", "T047", "T184"]),
        ("disorders", ["T033", "T047", "T184"]),
        ("Anatomy, Procedures", ["T023", "T060"]),
        ("proc,T023", ["T060", "T023"]),
        ("T047,T047", ["T047"]),
        ("", []),
        ("[]", []),
    ],
)
def test_tuis_names_and_groups_however_they_are_separated(text, tuis):
    assert list(meant(text)) == tuis
    assert list(meant(*text.split(","))) == tuis


@pytest.mark.parametrize(
    ("text", "named", "near"),
    [
        ("T999", "T999", "there are ANAT, DISO, PROC, and 5 types: semantic_types in its manifest.json"),
        ("T121", "T121", "there are ANAT"),
        ("T047,T999", "T999", "there are"),
        ("T048", "T048", "the nearest is T047 Disease or Syndrome; there are ANAT"),
        ("disorder", "disorder", "the nearest is DISO"),
        ("T047 and T033", "and", "write T047,T033"),
        ("Disease or Syndrom", "Disease or Syndrom", "the nearest is T047 Disease or Syndrome"),
        ("T033 Diagnostik Procedure T047", "Diagnostik Procedure", "the nearest are T060 Diagnostic Procedure, PROC;"),
        ("DISOS", "DISOS", "the nearest is DISO"),
        ("CHEM", "CHEM", "there are ANAT, DISO, PROC, and 5 types"),
        ("47", "47", "there are"),
    ],
)
def test_what_is_none_is_named_with_the_nearest(text, named, near):
    with pytest.raises(InvalidInput) as refused:
        meant(text)
    assert f"no concept of the vocabulary has the semantic type '{named}'" in refused.value.message
    assert near in refused.value.hint
    assert refused.value.hint.startswith("KG_SEMANTIC_TYPES: ")


@pytest.mark.parametrize(
    "text", ["-T047", "!T047", "T047,-T033", "DISO ~T033", "T033-T047", "T047 - T033", "T047+", "\u2212T047"]
)
def test_signs_that_may_mean_something_else_are_refused(text):
    with pytest.raises(InvalidInput, match="is no part of a semantic type, in") as refused:
        meant(text)
    assert refused.value.hint == "KG_SEMANTIC_TYPES: write T047,T033; none can be excluded"


def test_groups_are_called_as_the_umls_calls_them():
    names = {tui: "" for tuis in group_types().values() for tui in tuis}
    for group, spelt in (("CHEM", "Chemicals & Drugs"), ("CHEM", "chemicals and drugs"), ("LIVB", "Living Beings")):
        assert semantic_types_of([spelt], names, "") == group_types()[group]


@given(st.lists(st.sampled_from([*NAMES, *NAMES.values()]), min_size=1), st.sampled_from([",", ", ", ";", " ", "\n", " | "]))
def test_any_order_of_tuis_and_names_is_read(parts, separator):
    tui_of = {name: tui for tui, name in NAMES.items()}
    expected = list(dict.fromkeys(tui_of.get(part, part) for part in parts))
    assert list(meant(separator.join(parts))) == expected


@given(st.text())
def test_no_text_is_anything_but_read_or_refused(text):
    with suppress(InvalidInput):
        assert set(meant(text)) <= set(NAMES)
