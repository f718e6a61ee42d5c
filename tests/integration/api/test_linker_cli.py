"""`kg-service link` and `kg-service linker`, on a release of five concepts, two of them with the same name."""

import json
import os
import re
import subprocess
import sys

import pytest
from kg_service.graph import open_store
from kg_service.linking.dictionary.prior import ODDS

PNEUMONIA, EFFUSION, NODULE, OTHER_NODULE, LUNG = (f"C000000{i}" for i in range(1, 6))
NAMES = [
    (PNEUMONIA, "Pneumonia"),
    (EFFUSION, "Pleural effusion"),
    (NODULE, "Nodule"),
    (OTHER_NODULE, "Nodule"),
    (LUNG, "Lung"),
]
WIDE = {"COLUMNS": "200"}


@pytest.fixture
def folder(tmp_path, command, monkeypatch):
    rrf = tmp_path / "rrf"
    rrf.mkdir()
    rows = {
        "MRCONSO": [f"{cui}|ENG|P|L1|PF|S1|Y|A1||||MSH|PT|X1|{name}|0|N||" for cui, name in NAMES],
        "MRSTY": [f"{cui}|{'T023' if cui == LUNG else 'T047'}|A1|type|AT1||" for cui, _ in NAMES],
        "MRREL": [],
    }
    for stem, lines in rows.items():
        (rrf / f"{stem}.RRF").write_text("".join(f"{line}\n" for line in lines))
    data = tmp_path / "fresh"
    assert command("vocabulary", "build", rrf, "--data", data)[0] == 0
    monkeypatch.setenv("COLUMNS", WIDE["COLUMNS"])
    return data


@pytest.fixture
def labelled(tmp_path):
    """Forty captions in which a nodule is the other one."""
    file = tmp_path / "labelled.csv"
    rows = [f"Nodule {i} in the lung.,{OTHER_NODULE} {LUNG}" for i in range(40)]
    file.write_text("\n".join(["caption,cuis", *rows, ""]))
    return file


def cells(out):
    """The rows of tables, by column."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]


def test_link_shows_the_caption_its_mentions_and_what_lost(folder, command):
    code, out, _ = command("link", "Nodule, no pneumonia.", "--data", folder)
    assert code == 0
    assert out.splitlines()[0] == "Nodule, no pneumonia."
    assert cells(out) == [
        ["Nodule", NODULE, "Nodule", "DISO", "1.00", "exact", "present"],
        ["", OTHER_NODULE, "Nodule", "", "1.00", "lost", ""],
        ["pneumonia", PNEUMONIA, "Pneumonia", "DISO", "1.00", "case", "absent"],
    ]
    assert "no concept found" in command("link", "zzz [bold]", "--data", folder)[1]


def test_link_answers_machines_as_the_service_does(folder, command, service):
    code, out, _ = command("link", "Nodule, no pneumonia.", "--data", folder, "--json")
    assert code == 0
    client = service(data=folder, vocabulary=folder / "vocabulary")
    answer = client.post("/link", json={"captions": ["Nodule, no pneumonia."]}).json()
    assert json.loads(out) == answer
    first = answer["results"][0]["mentions"][0]
    assert (first["groups"], [each["cui"] for each in first["candidates"]]) == (["DISO"], [OTHER_NODULE])


def test_link_refuses_what_the_service_refuses_and_names_the_limit(folder, command):
    code, _, err = command("link", "x" * 20_001, "--data", folder)
    assert code == 2
    assert "20,001 characters; the limit is 20,000" in err


@pytest.mark.parametrize(("settings", "coloured"), [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)])
def test_link_has_colours_unless_they_are_not_wanted(folder, settings, coloured):
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")} | settings
    command = [sys.executable, "-m", "kg_service", "link", "No pneumonia.", "--data", str(folder)]
    done = subprocess.run(command, env=environment | {"TERM": "xterm-256color"}, capture_output=True, text=True, check=True)
    assert bool(re.search(r"\x1b\[[0-9;]*3[1-7]", done.stdout)) == coloured


def test_names_are_hidden_in_answers_where_they_may_not_be_shown(folder, command, monkeypatch):
    monkeypatch.setenv("KG_SHOW_NAMES", "false")
    _, out, _ = command("link", "pneumonia", "--data", folder)
    assert cells(out) == [["pneumonia", PNEUMONIA, "", "DISO", "1.00", "case", "present"]]


@pytest.mark.parametrize("written", ["T999", '["T121"]', "Virus", "T047 T999"])
def test_semantic_types_that_the_vocabulary_lacks_end_every_command_at_its_start(
    folder, tmp_path, labelled, command, monkeypatch, written
):
    captions = tmp_path / "captions.csv"
    captions.write_text("image_id,caption\na,Pneumonia.\n")
    monkeypatch.setenv("KG_SEMANTIC_TYPES", written)
    for arguments in (("link", "pneumonia"), ("ingest", captions), ("serve",), ("linker", "fit", labelled)):
        code, out, err = command(*arguments, "--data", folder)
        assert (code, out) == (2, "")
        assert "has the semantic type" in err
        assert "KG_SEMANTIC_TYPES" in err
    assert not (folder / "graph.sqlite").exists()
    code, out, _ = command("doctor", "--data", folder)
    assert (code, "linker: no concept of the vocabulary" in out) == (1, True)


@pytest.mark.parametrize("written", ["T047", "t047", '["T047"]', "T047 T023", "diso"])
def test_semantic_types_are_taken_as_people_write_them(folder, command, monkeypatch, written):
    monkeypatch.setenv("KG_SEMANTIC_TYPES", written)
    assert cells(command("link", "pneumonia", "--data", folder)[1])[0][1] == PNEUMONIA


def test_link_help_has_the_tie_rule(command):
    _, out, _ = command("link", "--help")
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", out).split())
    assert "these decide, in this order: how exact the rule is" in text
    assert "the lower CUI" in text


def test_a_fitted_prior_is_measured_used_and_named_on_every_edge(tmp_path, folder, labelled, command, monkeypatch):
    code, out, err = command("linker", "fit", labelled, "--data", folder)
    assert code == 0, err
    prior = folder / "vocabulary.prior"
    name = re.match(rf"(dictionary-\d+\+prior:[0-9a-f]{{8}}) in {prior}, fitted to (\d+) captions", out)
    held = int(re.search(r"on (\d+) captions held out", out)[1])
    assert int(name[2]) + held == 40
    figures = {row[0]: row[1:] for row in cells(out)}
    assert figures["captions before"] == ["50.0", "50.0", "50.0", f"{held}", f"{2 * held}", f"{2 * held}"]
    assert figures["captions after"] == ["100.0", "100.0", "100.0", f"{2 * held}", f"{2 * held}", f"{2 * held}"]
    assert f"of {held} labelled concepts found by an exact name before, {held} are found after" in out
    assert f"export KG_LINKER_PRIOR={prior}" in out
    manifest = json.loads((prior / "manifest.json").read_text())
    vocabulary = json.loads(command("link", "x", "--data", folder, "--json")[1])["linker"]
    assert (manifest["captions"], manifest["linker"]) == (int(name[2]), vocabulary)

    captions = tmp_path / "captions.csv"
    captions.write_text("image_id,caption\na,A nodule.\n")
    monkeypatch.setenv("KG_LINKER_PRIOR", str(prior))
    assert command("ingest", captions, "--data", folder)[0] == 0
    store = open_store(str(folder / "graph.sqlite"))
    edges = store.image("a").attributes
    store.close()
    assert {(edge.rule, edge.linker) for edge in edges} == {("learned", name[1])}
    assert {edge.cui for edge in edges} & {NODULE, OTHER_NODULE} == {OTHER_NODULE}
    snapshot = command("snapshot", "publish", "--data", folder)[1].strip()
    assert json.loads((folder / "snapshots" / snapshot / "manifest.json").read_text())["linkers"] == [name[1]]
    assert f"linker: {name[1]} (prior in {prior})" in command("doctor", "--data", folder)[1]


def test_the_service_links_with_the_prior_and_says_so(folder, labelled, command, service):
    command("linker", "fit", labelled, "--data", folder, "--out", folder / "mine", "--holdout", 0)
    client = service(data=folder, vocabulary=folder / "vocabulary", linker_prior=folder / "mine")
    answer = client.post("/link", json={"captions": ["A nodule."]}).json()
    assert {mention["cui"] for mention in answer["results"][0]["mentions"]} & {NODULE, OTHER_NODULE} == {OTHER_NODULE}
    assert re.fullmatch(r"dictionary-\d+\+prior:[0-9a-f]{8}", answer["linker"])
    assert client.get("/info").json()["linker"] == answer["linker"]


def test_a_prior_that_is_not_there_or_of_another_vocabulary_is_refused(tmp_path, folder, labelled, command, service, problem):
    code, _, err = command("link", "x", "--data", folder, "--prior", tmp_path / "none")
    assert (code, "kg-service linker fit" in err) == (2, True)
    command("linker", "fit", labelled, "--data", folder)
    rrf = tmp_path / "rrf"
    assert command("vocabulary", "build", rrf, "--data", folder, "--release", "other")[0] == 0
    code, _, err = command("link", "x", "--data", folder, "--prior", folder / "vocabulary.prior")
    assert code == 1
    assert "was fitted for another vocabulary" in err
    assert "hint: kg-service linker fit LABELLED, or unset KG_LINKER_PRIOR" in err
    client = service(data=folder, vocabulary=folder / "vocabulary", linker_prior=tmp_path / "none")
    problem(client.post("/link", json={"captions": ["x"]}), 503, "unavailable")
    reasons = {each["where"]: each["message"] for each in client.get("/readyz").json()["errors"]}
    assert "no linking-prior" in reasons["linker"]


def test_the_same_captions_give_the_same_prior(folder, labelled, command):
    names = {command("linker", "fit", labelled, "--data", folder, "--replace")[1].split()[0] for _ in range(2)}
    assert len(names) == 1


def test_a_prior_is_replaced_only_where_that_is_said(folder, labelled, command):
    prior = folder / "vocabulary.prior"
    command("linker", "fit", labelled, "--data", folder)
    manifest = (prior / "manifest.json").read_bytes()
    code, out, err = command("linker", "fit", labelled, "--data", folder, "--holdout", 0)
    assert (code, out) == (2, "")
    assert f"{prior} already exists" in err
    assert "--replace" in err
    assert (prior / "manifest.json").read_bytes() == manifest
    assert command("linker", "fit", labelled, "--data", folder, "--holdout", 0, "--replace")[0] == 0
    assert (prior / "manifest.json").read_bytes() != manifest


def test_only_the_dictionary_linker_is_fitted(folder, labelled, command, monkeypatch):
    monkeypatch.setenv("KG_LINKER", "scispacy")
    code, out, err = command("linker", "fit", labelled, "--data", folder)
    assert (code, out) == (2, "")
    assert "only the dictionary linker can be fitted, and KG_LINKER is scispacy" in err
    assert not (folder / "vocabulary.prior").exists()


@pytest.mark.parametrize(("known", "code"), [(0, 2), (3, 2), (4, 0), (19, 0), (20, 0)])
def test_labels_of_another_vocabulary_are_refused_or_told_with_numbers(folder, tmp_path, command, known, code):
    file = tmp_path / "labelled.csv"
    rows = [f"Pneumonia {i}.,{PNEUMONIA if i < known else 'C7777777'}" for i in range(40)]
    file.write_text("\n".join(["caption,cuis", *rows, ""]))
    found, _, err = command("linker", "fit", file, "--data", folder)
    assert found == code
    told = f"{40 - known} of 40 labels are not in {folder / 'vocabulary'}" in err
    assert told == (known < 20)
    assert ("error:" in err) == (code != 0)
    assert (folder / "vocabulary.prior").exists() == (code == 0)


def test_a_prior_that_is_no_gain_is_told(folder, tmp_path, command):
    file = tmp_path / "labelled.csv"
    file.write_text("\n".join(["caption,cuis", *(f"Pneumonia {i}.,{PNEUMONIA}" for i in range(40)), ""]))
    code, _, err = command("linker", "fit", file, "--data", folder)
    assert code == 0
    assert "note: the prior does not improve" in err
    assert "error" not in err


def test_with_spans_and_the_usual_hold_out_the_odds_are_chosen(folder, tmp_path, command):
    """A label at a third of a word's occurrences: worth a link only with higher odds than the usual."""
    file = tmp_path / "labelled.ndjson"
    rows = [{"caption": f"the lung {i}", "spans": [[4, 8, [LUNG]]] if i % 20 < 7 else []} for i in range(500)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = command("linker", "fit", file, "--data", folder)
    assert code == 0, err
    assert json.loads((folder / "vocabulary.prior" / "manifest.json").read_text())["odds"] > ODDS
    assert next(row for row in cells(out) if row[0] == "spans after")[2] == "100.0"


def test_evaluate_prints_scores_groups_faults_and_the_curve(tmp_path, folder, labelled, command):
    with labelled.open("a") as file:
        file.write("Pneumonia.,C0000001 C7777777\n")
    scores = tmp_path / "scores.json"
    code, out, err = command("linker", "evaluate", labelled, "--data", folder, "--json", scores)
    assert code == 0, err
    rows = cells(out)
    assert ["captions", "50.6", "50.6", "50.6", "41", "81", "81"] in rows
    assert ["captions, all labels", "50.6", "50.0", "50.3", "41", "81", "82"] in rows
    assert ["ANAT", "100.0", "100.0", "100.0", "40", "40", "40"] in rows
    assert ["40", NODULE, "Nodule", "nodule", "Nodule 0 in the lung."] in rows
    assert ["40", OTHER_NODULE, "Nodule", "", "Nodule 0 in the lung."] in rows
    assert ["0.75", "50.6", "50.6", "50.6"] in rows
    assert "1 labelled concepts can not be found" in out
    figures = json.loads(scores.read_text())
    assert figures["scores"]["documents"] == {"right": 41, "predicted": 81, "gold": 81} | dict.fromkeys(
        ("precision", "recall", "f1"), pytest.approx(41 / 81)
    )
    assert figures["scores"]["spans"] is None
    assert figures["false_positives"][0]["examples"] == [f"Nodule {i} in the lung." for i in range(3)]
    assert [point["min_score"] for point in figures["curve"]] == sorted(point["min_score"] for point in figures["curve"])


def test_evaluate_scores_spans_where_there_are_any(tmp_path, folder, command):
    file = tmp_path / "labelled.ndjson"
    file.write_text(json.dumps({"caption": "A nodule, pneumonia.", "spans": [[2, 8, [NODULE]], [9, 19, [PNEUMONIA]]]}) + "\n")
    code, out, _ = command("linker", "evaluate", file, "--data", folder, "--no-curve")
    assert code == 0
    assert ["spans", "50.0", "50.0", "50.0", "1", "2", "2"] in cells(out)
    assert ["captions", "100.0", "100.0", "100.0", "2", "2", "2"] in cells(out)
    assert "KG_LINKER_MIN_SCORE" not in out


@pytest.mark.parametrize("verb", ["fit", "evaluate"])
def test_bad_rows_are_named_and_end_with_1_unless_allowed(folder, labelled, command, verb):
    with labelled.open("a") as file:
        file.write("Lung.,C12\n")
    code, out, err = command("linker", verb, labelled, "--data", folder)
    assert code == 1
    assert "captions" in out
    assert re.search(rf"{labelled}:42: .*C12", err)
    assert "the others are used" in err
    again = ["--replace"] if verb == "fit" else []
    assert command("linker", verb, labelled, "--data", folder, "--max-bad", 1, *again)[0] == 0


def test_what_can_not_be_fitted_is_one_line_a_hint_and_2(tmp_path, folder, command):
    file = tmp_path / "x.ndjson"
    mixed = [{"caption": "Lung.", "cuis": [LUNG]}, {"caption": "A lung.", "spans": [[2, 6, [LUNG]]]}]
    for content in ("", "\n".join(map(json.dumps, mixed))):
        file.write_text(content)
        code, out, err = command("linker", "fit", file, "--data", folder)
        assert (code, out) == (2, "")
        assert [line.split(":")[0] for line in err.splitlines()] == ["error", "hint"]
    assert not (folder / "vocabulary.prior").exists()


@pytest.mark.parametrize("verb", ["fit", "evaluate"])
def test_help_teaches_with_an_example(command, verb):
    code, out, _ = command("linker", verb, "--help")
    assert code == 0
    assert f"kg-service linker {verb} captions.csv" in out
