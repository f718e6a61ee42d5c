"""Vocabularies beside the UMLS, end to end: compiled, linked, ingested, published, explained and served by their own ids."""

import json
import re

import pytest
from kg_service.graph import open_store
from kg_service.vocabulary.vocabulary import open_vocabulary
from support.ontologies import IDS, write

CAPTIONS = """image_id,caption,cuis
a,Chest X-ray with pneumonia.,
b,Inflammation of lung.,
c,No pneumonia. The thorax is normal.,
d,Given by hand.,{lung_disease} {thorax}
e,Given by hand.,{lung_disease}
"""


@pytest.fixture
def made(tmp_path, command):
    """A data folder in which everything is done with the ontology of this kind."""

    def make(kind):
        data, captions = tmp_path / "made", tmp_path / "captions.csv"
        captions.write_text(CAPTIONS.format(**IDS[kind]))
        given = write(kind, tmp_path / "given")
        relations = ("--relation", "has_finding_site", "--relation", "part_of")
        for arguments in (
            ("vocabulary", "build", given, *relations, "--licence", "made up"),
            ("ingest", captions),
            ("snapshot", "publish"),
        ):
            code, _, err = command(*arguments, "--data", data)
            assert code == 0, err
        return data

    return make


@pytest.mark.parametrize("kind", ["rf2", "obo", "owl", "json"])
def test_from_files_to_an_explanation(made, command, kind):
    ids = IDS[kind]
    data = made(kind)
    code, out, _ = command("link", "Pneumonia, no chest lesion.", "--data", data, "--json")
    assert code == 0
    (linked,) = json.loads(out)["results"]
    assert [(m["cui"], m["assertion"], m["groups"]) for m in linked["mentions"]] == [
        (ids["pneumonia"], "present", ["DISO"]),
        (ids["thorax"], "absent", ["ANAT"]),
    ]
    store = open_store(str(data / "graph.sqlite"))
    present = {
        image: sorted(edge.cui for edge in store.image(image).attributes if edge.assertion == "present") for image in "abcde"
    }
    store.close()
    assert present == {
        "a": sorted([ids["pneumonia"], ids["thorax"]]),
        "b": sorted([ids["lung"], ids["pneumonia"]]),
        "c": [ids["thorax"]],
        "d": sorted([ids["lung_disease"], ids["thorax"]]),
        "e": [ids["lung_disease"]],
    }
    code, out, err = command("explain", "b", "d", "--data", data)
    assert code == 0, err
    assert re.search(f"{ids['lung_disease']}.*Lung disease", out)
    code, out, err = command("doctor", "--data", data)
    assert "dictionary" in out
    assert "not a CUI" not in out + err


@pytest.mark.parametrize("kind", ["rf2", "obo"])
def test_the_service_answers_by_the_vocabularys_ids(made, service, kind):
    ids, data = IDS[kind], made(kind)
    client = service(data=data, vocabulary=data / "vocabulary")
    (linked,) = client.post("/v1/link", json={"captions": ["Pneumonia."]}).json()["results"]
    assert [mention["cui"] for mention in linked["mentions"]] == [ids["pneumonia"]]
    concept = client.get(f"/v1/concepts/{ids['pneumonia']}").json()
    assert concept["name"] == "Pneumonia"
    assert [parent["cui"] for parent in concept["parents"]] == [ids["lung_disease"]]
    assert concept["image_count"] == 2
    assert client.get("/v1/concepts", params={"q": "thorax"}).json()["concepts"][0]["cui"] == ids["thorax"]
    assert client.get("/v1/concepts/C0000001").status_code == 404
    assert client.get("/v1/concepts/lung").status_code == 422
    items = [{"image_id": "f", "caption": "x", "cuis": [ids["pneumonia"], "RID1301"]}]
    stored = client.post("/v1/images", json={"items": items}).json()
    assert stored["first_unknown_cuis"][0]["cui"] == "RID1301"
    targets = client.post("/v1/targets", json={"image_ids": ["a", "b", "d"], "output": "similarity"})
    assert targets.status_code == 200
    explained = client.post("/v1/explain", json={"image_id": "a", "other_id": "b"}).json()
    assert ids["pneumonia"] in json.dumps(explained)


@pytest.mark.parametrize("kind", ["rf2", "obo"])
def test_images_are_appended_and_a_linker_fitted(made, command, tmp_path, kind):
    ids, data = IDS[kind], made(kind)
    more = tmp_path / "more.csv"
    more.write_text(f"image_id,caption,cuis\nx,Lung inflammation.,\ny,Given.,{ids['pneumonia']}\n")
    assert command("ingest", more, "--data", data)[0] == 0
    code, _, err = command("snapshot", "append", "--data", data)
    assert code == 0, err
    assert command("explain", "a", "x", "--data", data)[0] == 0
    labelled = tmp_path / "labelled.csv"
    rows = [
        f"{at},Shadow {word} of the lung field.,{ids['pneumonia']} RID1301" for at, word in enumerate(["one", "two", "three"])
    ]
    labelled.write_text("\n".join(["image_id,caption,cuis", *rows, f"9,Nothing else.,{ids['thorax']}"]) + "\n")
    code, _, err = command("linker", "fit", labelled, "--data", data)
    assert code == 0, err
    assert len(open_vocabulary(data / "vocabulary", verify=True)) == len(ids)


def test_what_was_found_is_named(command, tmp_path):
    code, out, _ = command("vocabulary", "build", write("zip", tmp_path / "given"), "--data", tmp_path / "data")
    assert code == 0
    assert re.search(r"read as .*a SNOMED CT release in RF2", out)
    assert re.search(r"release .*SNOMEDCT_INT_20260101", out)
    (tmp_path / "notes.txt").write_text("lung")
    code, _, err = command("vocabulary", "build", tmp_path / "notes.txt", "--data", tmp_path / "data")
    assert code == 2
    assert "looked for MRCONSO.RRF (UMLS), sct2_Concept_Snapshot" in err


def test_a_vocabulary_of_other_ids_replaces_none_that_a_graph_was_linked_with(made, command, tmp_path):
    data, other = made("rf2"), write("obo", tmp_path / "other")
    before = (data / "vocabulary" / "manifest.json").read_bytes()
    build = ("vocabulary", "build", other, "--data", data)
    code, _, err = command(*build)
    assert code == 2
    assert re.search(
        rf"(\d) of \1 concepts of the graph are not in the vocabulary tiny .*, such as {min(IDS['rf2'].values())}", err
    )
    assert "--data" in err
    assert "--vocabulary" in err
    assert (data / "vocabulary" / "manifest.json").read_bytes() == before
    assert command("doctor", "--data", data)[0] == 0
    assert command(*build, "--vocabulary", tmp_path / "elsewhere")[0] == 0
    assert command(*build, "--vocabulary", tmp_path / "elsewhere")[0] == 2
    assert command(*build, "--replace")[0] == 0
    code, out, _ = command("doctor", "--data", data)
    assert code == 1
    assert re.search(r"✗ graph: (\d) of \1 concepts of the graph are not in the vocabulary tiny ", out)
    assert "next: build the vocabulary again that the captions were linked with" in out


def test_a_newer_release_replaces_the_older_one(made, command, tmp_path):
    data, newer = made("obo"), write("obo", tmp_path / "newer")
    lines = newer.read_text().replace("2026-01-01", "2026-07-01").replace(IDS["obo"]["thorax"], "TST:0000099")
    newer.write_text(lines)
    assert command("vocabulary", "build", newer, "--data", data)[0] == 0
    code, out, _ = command("doctor", "--data", data)
    assert code == 0
    assert "tiny releases/2026-07-01" in out


def test_a_graph_that_can_not_be_read_is_told_and_stops_no_build(made, command, tmp_path):
    data = made("obo")
    (data / "graph.sqlite").write_bytes(b"no database")
    code, _, err = command("vocabulary", "build", write("obo", tmp_path / "again"), "--data", data)
    assert code == 0
    assert "the graph was not compared with the vocabulary" in err
