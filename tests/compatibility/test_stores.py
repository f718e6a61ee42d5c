"""Vocabulary, name index, prior and graph of former versions."""

import json

import pytest
from compatibility.likeness import differences


@pytest.mark.parametrize(("name", "options"), [("link", ()), ("link-with-prior", ("--prior", "data/vocabulary.prior"))])
def test_a_vocabulary_links_a_caption_as_it_did_and_so_does_a_prior(copied, kg, name, options):
    expected = json.loads((copied / "expected" / f"{name}.json").read_text())
    found = json.loads(kg("link", expected["results"][0]["caption"], "--json", *options))
    assert list(differences(expected, found)) == []
    assert any(mention["rule"] == "learned" for mention in found["results"][0]["mentions"]) is bool(options)


def test_a_graph_takes_a_further_caption_and_holds_what_it_held(copied, kg):
    (copied / "more.csv").write_text("image_id,caption,split\nmore,Chest CT showing pulmonary embolism.,valid\n")
    assert kg("ingest", "more.csv").startswith("1 created")
    assert kg("ingest", "more.csv").startswith("1 unchanged")
    (info,) = (copied / "wire" / "locked").glob("??-read.json")
    before = json.loads(info.read_text())["answer"]["json"]["counts"]["images"]
    assert kg("copy", "data/graph.sqlite", "copy.sqlite").startswith(f"{before + 1} created")
