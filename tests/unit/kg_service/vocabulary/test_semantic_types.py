"""Semantic types in the spellings that people write."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
        ("T999", "T999", "there are T023"),
        ("T121", "T121", "there are T023"),
        ("T047,T999", "T999", "there are"),
        ("Disease or Syndrom", "Disease or Syndrom", "the nearest is T047 Disease or Syndrome"),
        ("T033 Diagnostik Procedure T047", "Diagnostik Procedure", "the nearest is T060 Diagnostic Procedure"),
        ("DISOS", "DISOS", "the nearest is DISO"),
        ("CHEM", "CHEM", "there are ANAT, DISO, PROC, Body Part, Organ, or Organ Component, Diagnostic Procedure"),
        ("47", "47", "there are"),
    ],
)
def test_what_is_none_is_named_with_the_nearest(text, named, near):
    with pytest.raises(InvalidInput) as refused:
        meant(text)
    assert f"no concept of the vocabulary has the semantic type '{named}'" in refused.value.message
    assert near in refused.value.hint
    assert refused.value.hint.startswith("KG_SEMANTIC_TYPES: ")


@given(st.lists(st.sampled_from([*NAMES, *NAMES.values()]), min_size=1), st.sampled_from([",", ", ", ";", " ", "\n", " | "]))
def test_any_order_of_tuis_and_names_is_read(parts, separator):
    tui_of = {name: tui for tui, name in NAMES.items()}
    expected = list(dict.fromkeys(tui_of.get(part, part) for part in parts))
    assert list(meant(separator.join(parts))) == expected


@given(st.text())
def test_no_text_is_anything_but_read_or_refused(text):
    with suppress(InvalidInput):
        assert set(meant(text)) <= set(NAMES)
