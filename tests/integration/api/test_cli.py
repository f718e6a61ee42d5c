"""The command, end to end on a release of four concepts: what it prints, what it leaves, how it ends."""

import json
import re
import socket
from contextlib import closing
from importlib.metadata import version

import pytest
from kg_service.graph import open_store
from kg_service.linking.dictionary.candidates import RULES
from kg_service.linking.linkers import LINKERS
from kg_service.snapshot import SnapshotFolder

NAMES = {"C0000001": "Pneumonia", "C0000002": "Pleural effusion", "C0000003": "Lung disease", "C0000004": "Pneumothorax"}
IS_A = [("C0000001", "C0000003"), ("C0000002", "C0000003"), ("C0000004", "C0000003")]


@pytest.fixture
def rrf(tmp_path):
    folder = tmp_path / "rrf"
    folder.mkdir()
    names = [f"{cui}|ENG|P|L1|PF|S1|Y|A1||||MSH|PT|X1|{name}|0|N||" for cui, name in NAMES.items()]
    edges = [f"{parent}|A1|AUI|CHD|{child}|A2|AUI|isa|R1||MSH|MSH|||N||" for child, parent in IS_A]
    types = [f"{cui}|T047|A1|Disease or Syndrome|AT1||" for cui in NAMES]
    for stem, rows in {"MRCONSO": names, "MRREL": edges, "MRSTY": types}.items():
        (folder / f"{stem}.RRF").write_text("".join(f"{row}\n" for row in rows))
    return folder


@pytest.fixture
def captions(tmp_path):
    file = tmp_path / "captions.csv"
    file.write_text(
        "image_id,caption,split\na,Pneumonia.,train\nb,Pleural effusion and pneumonia.,train\nc,No pneumothorax.,valid\n"
    )
    return file


@pytest.fixture
def folder(tmp_path, rrf, captions, command):
    """A data folder in which everything is done but the snapshot."""
    data = tmp_path / "fresh"
    assert command("vocabulary", "build", rrf, "--data", data)[0] == 0
    assert command("ingest", captions, "--data", data)[0] == 0
    return data


def test_from_rrf_files_to_a_snapshot_with_the_doctor_saying_each_next_step(tmp_path, rrf, captions, command):
    data = tmp_path / "fresh"

    def next_step():
        code, out, _ = command("doctor", "--data", data)
        return code, out.splitlines()[-1].removeprefix("next: ")

    assert next_step() == (1, "build one: kg-service vocabulary build RRF_DIR")
    assert not data.exists()
    code, out, _ = command("vocabulary", "build", rrf, "--data", data, "--release", "test-1")
    assert code == 0
    assert re.search(r"release.*test-1", out)
    assert re.search(r"concepts.*4", out)
    assert re.search(r"is_a .*3", out)
    assert next_step() == (1, "kg-service ingest FILE")
    code, out, _ = command("ingest", captions, "--data", data, "--dataset", "made")
    assert (code, out.split(",")[0]) == (0, "3 created")
    assert command("ingest", captions, "--data", data, "--dataset", "made")[1].startswith("3 unchanged")
    assert next_step() == (1, "kg-service snapshot publish --split train")
    code, out, err = command("snapshot", "publish", "--data", data)
    assert code == 0
    assert re.fullmatch("[0-9a-f]{64}\n", out)
    assert f"published {out[:12]}…: 3 images (2 with a concept)" in err
    assert next_step() == (0, "kg-service serve")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a,Pneumonia.,\n", "kg-service snapshot publish"),
        ("a,Pneumonia.,\nb,Pneumonia.,train\n", "kg-service snapshot publish --split train"),
        ("a,Pneumonia.,b\nb,Pneumonia.,a\n", "kg-service snapshot publish --split SPLIT, the split to train on: a, b"),
    ],
)
def test_the_doctor_names_the_split_that_targets_come_from(tmp_path, rrf, command, rows, expected):
    file, data = tmp_path / "captions.csv", tmp_path / "fresh"
    file.write_text(f"image_id,caption,split\n{rows}")
    assert command("vocabulary", "build", rrf, "--data", data)[0] == 0
    assert command("ingest", file, "--data", data)[0] == 0
    assert command("doctor", "--data", data)[1].splitlines()[-1] == f"next: {expected}"


def test_bad_rows_of_a_release_are_named_by_file_and_line_and_end_with_1_unless_allowed(tmp_path, rrf, command):
    with (rrf / "MRCONSO.RRF").open("a") as file:
        file.write("C0000009|ENG|too short\n")
    arguments = ("vocabulary", "build", rrf, "--data", tmp_path / "fresh")
    code, _, err = command(*arguments)
    assert code == 1
    assert "MRCONSO.RRF:5: " in err
    assert "--max-bad 1" in err
    assert command(*arguments, "--max-bad", 1)[0] == 0


def test_a_release_that_is_cut_off_makes_no_vocabulary(tmp_path, rrf, command):
    with (rrf / "MRCONSO.RRF").open("a") as file:
        file.write("C0000009|ENG|too sh")
    code, _, err = command("vocabulary", "build", rrf, "--data", tmp_path / "fresh", "--max-bad", 9)
    assert (code, "MRCONSO.RRF is damaged or cut off: it ends within line 5: " in err) == (2, True)
    assert not (tmp_path / "fresh" / "vocabulary").exists()


def test_filters_of_a_build_leave_concepts_out(tmp_path, rrf, command):
    arguments = ("vocabulary", "build", rrf, "--data", tmp_path / "fresh")
    code, _, err = command(*arguments, "--semantic-type", "T999")
    assert code == 2
    assert err.startswith("error: no concept")
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "hint"]
    code, out, _ = command(*arguments, "--source", "msh,MSH", "--semantic-type", "disease or syndrome", "--language", "eng")
    assert code == 0
    assert re.search(r"left out by source *│ 0", out)
    code, _, err = command(*arguments, "--source", "MHS")
    assert (code, "the nearest is MSH" in err) == (2, True)
    assert command(*arguments, "--source", " ")[0] == 2


def test_what_a_release_calls_itself_is_shown_and_named_where_it_does_not(tmp_path, rrf, command):
    arguments = ("vocabulary", "build", rrf, "--data", tmp_path / "fresh")
    assert "--release names it" in command(*arguments)[1]
    (tmp_path / "release.dat").write_text("umls.release.name=2025AB\n")
    assert re.search(r"release.*2025AB", command(*arguments)[1])
    assert "vocabulary: 2025AB, 4 concepts" in command("doctor", "--data", tmp_path / "fresh")[1]


def test_bad_and_rejected_rows_of_a_file_end_with_1_unless_allowed(folder, captions, command):
    captions.write_text("image_id,caption\na,Another caption.\nd,Pneumonia.\ne\n")
    code, out, err = command("ingest", captions, "--data", folder)
    assert code == 1
    assert out.startswith("1 created, 1 rejected, 1 left out (1 wrong number of fields), of 3 rows read in")
    assert f"{captions}:2: image a rejected" in err
    assert f"{captions}:4: " in err
    assert command("ingest", captions, "--data", folder, "--max-bad", 2)[0] == 0
    assert command("ingest", captions, "--data", folder, "--replace", "--max-bad", 1)[1].startswith("1 replaced, 1 unchanged")


def test_rows_without_a_caption_are_left_out_and_named_up_to_a_share(folder, captions, command):
    rows = [f"e{number},{'' if number % 10 == 3 else 'Pneumonia.'}\n" for number in range(100)]
    captions.write_text("image_id,caption\n" + "".join(rows))
    code, out, err = command("ingest", captions, "--data", folder, "--show", 2)
    assert (code, out.split(", of")[0]) == (1, "90 created, 10 left out (10 empty caption)")
    assert err.splitlines()[:3] == [
        f"{captions}:5: empty caption: image e3",
        f"{captions}:15: empty caption: image e13",
        "… 8 more",
    ]
    code, out, err = command("ingest", captions, "--data", folder, "--max-bad-row-share", 0.1)
    assert (code, out.split(", of")[0]) == (0, "90 unchanged, 10 left out (10 empty caption)")
    assert len(err.splitlines()) == 10
    captions.write_text("image_id,caption\ne0,Another one.\n" + "".join(rows[1:]))
    assert command("ingest", captions, "--data", folder, "--max-bad-row-share", 0.1)[0] == 1
    assert command("ingest", captions, "--data", folder, "--max-bad-row-share", 0.1, "--max-bad", 1)[0] == 0


def test_a_companion_that_fits_nothing_stores_nothing(folder, tmp_path, command):
    (tmp_path / "more.csv").write_text("ID;Caption\nX_1;Pneumonia.\nX_2;Nothing.\n")
    (tmp_path / "cuis.txt").write_text("Y_1\tC0000001\n")
    arguments = ("ingest", tmp_path / "more.csv", "--data", folder, "--cuis", tmp_path / "cuis.txt")
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert "none of its 1 ids is in the data: Y_1 there, X_1, X_2 here" in err
    (tmp_path / "cuis.txt").write_text("X_1.jpg,C0000001\nX_2.jpg,C0000002\n")
    assert command(*arguments)[1].startswith("2 created, of 2 rows read")


def test_cuis_that_the_vocabulary_lacks_are_counted_and_named_by_file_and_line(folder, tmp_path, command):
    more = tmp_path / "more.csv"
    more.write_text("image_id,caption,cuis\nx,One.,C0000001 C9999999\ny,Two.,C9999999\nz,Three.,C9999998\n")
    code, out, err = command("ingest", more, "--data", folder)
    assert (code, out.split(",")[0]) == (0, "3 created")
    assert err.splitlines()[0] == (
        "note: CUIs given that the vocabulary lacks: 2, stored without a name and without ancestors: "
        f"C9999999 at {more}:2, C9999998 at {more}:4"
    )
    assert command("ingest", more, "--data", folder, "--relink", "--replace")[2] == ""


@pytest.mark.parametrize(("name", "empty", "none"), [("more.ndjson", "[]", "null"), ("more.csv", '"[]"', "")])
def test_an_empty_list_of_cuis_is_no_concept_and_counted(folder, tmp_path, command, name, empty, none):
    more = tmp_path / name
    if name.endswith("csv"):
        more.write_text(f"image_id,caption,cuis\nx,Pneumonia.,{empty}\ny,Pneumonia.,{none}\n")
    else:
        lines = (f'{{"image_id": "{x}", "caption": "Pneumonia.", "cuis": {cuis}}}\n' for x, cuis in (("x", empty), ("y", none)))
        more.write_text("".join(lines))
    code, out, err = command("ingest", more, "--data", folder)
    assert (code, out.split(",")[0]) == (0, "2 created")
    assert err.startswith(
        "note: images given an empty list of CUIs: 1, stored without a concept; their captions are not linked\n"
    )
    code, out, err = command("ingest", more, "--data", folder, "--relink", "--replace")
    assert (code, err, out.split(" read")[0]) == (0, "", "1 replaced, 1 unchanged, of 2 rows")


@pytest.mark.parametrize("part", [("--split", "trainn"), ("--dataset", "no"), ("--split", "train", "--dataset", "no")])
def test_a_part_that_no_image_has_is_refused_with_the_splits_there_are(folder, command, part):
    code, _, err = command("snapshot", "publish", "--data", folder, *part)
    assert code == 2
    assert f"{part[0][2:]} {part[1]!r}" in err
    assert "hint: its 3 images have the splits train, valid; rows set dataset and split" in err


def test_columns_and_formats_can_be_named(tmp_path, folder, command):
    file = tmp_path / "table.dat"
    file.write_text("file\ttext\nx\tPneumonia.\n")
    arguments = ("ingest", file, "--data", folder, "--format", "tsv", "--column", "image_id=file")
    assert command(*arguments, "--column", "caption=text")[1].startswith("1 created")
    assert command(*arguments, "--column", "caption")[0] == 2
    code, _, err = command(*arguments, "--column", "caption=txt")
    assert (code, err.splitlines()[1]) == (2, "hint: did you mean text?")
    assert command(*arguments, "--column", "caption=text", "--separator", "comma")[0] == 2
    assert command("ingest", file, "--data", folder, "--format", "xml")[0] == 2


def test_a_split_is_published_alone_listed_first_and_verified(folder, command):
    everything = command("snapshot", "publish", "--data", folder)[1].strip()
    train = command("snapshot", "publish", "--data", folder, "--split", "train")[1].strip()
    _, out, _ = command("snapshot", "list", "--data", folder)
    assert [line.split()[0] for line in out.splitlines()] == [train, everything]
    assert out.splitlines()[0].endswith("split=train current")
    code, out, _ = command("snapshot", "verify", "--data", folder)
    assert code == 0
    assert out.count("whole") == 2
    damaged = folder / "snapshots" / train / "graph.is_a.npy"
    damaged.write_bytes(b"x")
    assert command("snapshot", "verify", "--data", folder, train)[0] == 1
    assert command("snapshot", "verify", "--data", folder, everything)[0] == 0
    assert command("snapshot", "verify", "--data", folder, "0" * 64)[0] == 2
    assert command("snapshot", "prune", "--data", folder)[1] == ""
    assert command("snapshot", "prune", "--data", folder, "--keep", "0")[1].split() == [everything]


def test_damaged_snapshots_are_named_and_pruned_and_the_others_are_served_on(folder, command):
    held = command("snapshot", "publish", "--data", folder)[1].strip()
    for name, content in (("0" * 64, '{"format": 1}'), ("f" * 64, (folder / "snapshots" / held / "manifest.json").read_text())):
        (folder / "snapshots" / name).mkdir()
        (folder / "snapshots" / name / "manifest.json").write_text(content)
    code, out, err = command("snapshot", "list", "--data", folder)
    assert code == 0
    first, *others = out.splitlines()
    assert first.endswith("current")
    assert sorted(others) == [f"{'0' * 64} damaged", f"{'f' * 64} damaged"]
    assert "made by another version" in err
    assert "kg-service snapshot prune" in err
    code, out, err = command("snapshot", "verify", "--data", folder)
    assert code == 1
    assert sorted(line.split()[1] for line in out.splitlines()) == ["damaged", "damaged", "whole:"]
    assert "does not have the digest that names it" in err
    assert sorted(command("snapshot", "prune", "--data", folder)[1].split()) == ["0" * 64, "f" * 64]
    assert command("snapshot", "verify", "--data", folder)[0] == 0


def test_a_graph_of_another_vocabulary_is_told(rrf, captions, folder, command):
    publish, ingest = ("snapshot", "publish", "--data", folder), ("ingest", captions, "--data", folder)
    warning = "have other is_a in the graph than in the vocabulary"
    assert warning not in command(*publish)[2]
    assert warning not in command(*ingest)[2]
    edges = (rrf / "MRREL.RRF").read_text().splitlines(keepends=True)
    (rrf / "MRREL.RRF").write_text("".join(edges[1:]))
    assert command("vocabulary", "build", rrf, "--data", folder)[0] == 0
    for code, _, err in (command(*ingest), command(*publish)):
        assert code == 0
        assert warning in err
        assert "new data folder" in err
    fresh = folder.with_name("new")
    for words in (("vocabulary", "build", rrf), ingest[:2], publish[:2]):
        code, _, err = command(*words, "--data", fresh)
        assert (code, warning in err) == (0, False)


def test_the_hybrid_is_fitted_as_the_settings_say(folder, command, monkeypatch):
    monkeypatch.setenv("KG_HYBRID_SMOOTHING", "0")
    monkeypatch.setenv("KG_HYBRID_HUB_SHARE", "0.5")
    code, printed, _ = command("snapshot", "publish", "--data", folder)
    assert code == 0
    settings = SnapshotFolder(folder / "snapshots").manifest(printed.strip()).variants["hybrid/dk_ek"]
    assert (settings["smoothing"], settings["hub_share"], settings["ancestors"]) == (0, 0.5, True)


def test_a_snapshot_holds_the_representations_that_are_asked_for(folder, command, monkeypatch):
    monkeypatch.setenv("KG_TRANSE_EPOCHS", "2")
    monkeypatch.setenv("KG_TRANSE_SEED", "7")
    publish = ("snapshot", "publish", "--data", folder, "--representation", "concepts", "--representation", "transe")
    code, printed, _ = command(*publish)
    assert code == 0
    assert command(*publish)[1] == printed
    manifest = SnapshotFolder(folder / "snapshots").manifest(printed.strip())
    forms = {f"{name}/{knowledge}" for name in ("concepts", "transe") for knowledge in ("dk", "dk_ek")}
    assert manifest.variants.keys() == forms | {"noise/noise"}
    card = manifest.variants["transe/dk_ek"]
    assert (card["method"], card["epochs"], card["seed"], card["dimension"]) == ("transe", 2, 7, 128)
    assert "numba" in manifest.versions
    assert manifest.variants["concepts/dk"]["smoothing"] == 0
    assert command("snapshot", "publish", "--data", folder, "--set", "transe.preset=slow")[0] == 2


def test_an_unknown_representation_is_refused_by_name(folder, command):
    code, _, complaint = command("snapshot", "publish", "--data", folder, "--representation", "word2vec")
    assert code == 2
    assert "word2vec" in complaint


def test_a_linker_of_ones_own_compiles_its_index_and_links_as_it_is_set(tmp_path, rrf, captions, command, monkeypatch):
    monkeypatch.setitem(LINKERS, "own", "support.own_linker:LINKER")
    monkeypatch.setenv("KG_LINKER", "own")
    data = tmp_path / "own"
    assert command("vocabulary", "build", rrf, "--data", data)[0] == 0
    assert {path.name for path in data.iterdir()} == {"vocabulary", "vocabulary.own.json"}
    assert command("ingest", captions, "--data", data)[0] == 0
    with closing(open_store(str(data / "graph.sqlite"))) as store:
        found = {image.image_id: [(edge.cui, edge.linker) for edge in image.attributes] for image in store.images()}
    assert found == {"a": [("C0000001", "own-3")], "b": [("C0000001", "own-3")], "c": [("C0000004", "own-3")]}
    monkeypatch.setenv("KG_LINKER_LEAST_LETTERS", "10")
    answer = json.loads(command("link", "Pneumonia, pneumothorax.", "--data", data, "--json")[1])
    assert [mention["text"] for mention in answer["results"][0]["mentions"]] == ["pneumothorax"]
    assert "| `KG_LINKER_LEAST_LETTERS` | `3` | letters of a word that is read |" in command("settings")[1].splitlines()
    assert command("link", "x", "--data", data, "--linker", "dictionary")[0] == 2


def test_a_key_is_shown_once_and_listed_without_its_secret(tmp_path, command):
    code, out, _ = command("keys", "add", "trainer", "--scope", "read", "--data", tmp_path)
    assert code == 0
    secret = out.strip()
    assert secret.startswith("nbkg_")
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert secret not in (tmp_path / "keys.json").read_text()
    _, out, _ = command("keys", "list", "--data", tmp_path)
    assert out.startswith("trainer read sha256:")
    assert secret not in out
    assert command("keys", "add", "trainer", "--scope", "read", "--data", tmp_path)[0] == 2
    assert command("keys", "remove", "other", "--data", tmp_path)[0] == 2
    assert command("keys", "add", "other", "--scope", "root", "--data", tmp_path)[0] == 2
    assert command("keys", "add", "a b", "--scope", "read", "--data", tmp_path)[0] == 2


def test_settings_are_printed_as_a_markdown_table(command):
    _, out, _ = command("settings")
    lines = out.splitlines()
    assert lines[1] == "| --- | --- | --- |"
    assert all(line.count(" | ") == 2 for line in lines)
    assert any(line.startswith("| `KG_PORT` | `8080` |") for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ("ingest", "nothing.csv"),
        ("link", "x"),
        ("snapshot", "publish"),
        ("snapshot", "verify", "latest"),
        ("vocabulary", "build", "nothing"),
        ("serve", "--port", "70000"),
        ("serve", "--linker", "magic"),
    ],
)
def test_what_can_not_be_done_is_one_line_a_hint_and_2(tmp_path, monkeypatch, command, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")


def test_a_damaged_store_ends_with_1(folder, captions, command):
    (folder / "graph.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 10)
    for file in ("graph.sqlite-wal", "graph.sqlite-shm"):
        (folder / file).unlink(missing_ok=True)
    code, _, err = command("ingest", captions, "--data", folder)
    assert code == 1
    assert "damaged" in err.splitlines()[0]


def test_a_variable_that_sets_nothing_is_found_by_the_doctor(folder, command, monkeypatch):
    monkeypatch.setenv("KG_PROT", "1")
    code, out, _ = command("doctor", "--data", folder)
    assert code == 1
    assert "KG_PROT" in out.splitlines()[0]


@pytest.mark.parametrize("arguments", [(), ("ingest",), ("serve",), ("vocabulary", "build"), ("keys", "add")])
def test_help_teaches_with_an_example(command, arguments):
    code, out, _ = command(*arguments, "--help")
    assert code == 0
    assert "kg-service" in out


def test_help_of_link_names_every_rule_that_its_output_may_name(command):
    _, out, _ = command("link", "--help")
    words = set(re.findall(r"[\w-]+", out))
    assert {*RULES, "abbreviation", "radiology-abbreviation"} - words == set()


def test_help_lists_the_steps_first_and_in_their_order(command):
    code, out, _ = command("--help")
    assert code == 0
    verbs = re.findall(r"^│ ([a-z]+) ", out, re.MULTILINE)
    assert verbs[:4] == ["vocabulary", "ingest", "snapshot", "serve"]
    panels = re.findall(r"^╭─ (.+?) ─", out, re.MULTILINE)
    assert panels[:2] == ["Options", "Steps, in order"]
    assert "Commands" not in panels  # no command without a panel


def test_the_version_is_that_of_the_package(command):
    assert command("--version")[:2] == (0, f"kg-service {version('nbclip-kg-service')}\n")


def test_the_jsonl_of_another_program_is_read(tmp_path, folder, command):
    file = tmp_path / "more.jsonl"
    file.write_text(json.dumps({"image_id": "z", "caption": "Pneumonia.", "cuis": ["C0000001"]}) + "\n")
    assert command("ingest", file, "--data", folder)[1].startswith("1 created")
    assert command("ingest", file, "--data", folder, "--relink", "--replace")[1].startswith("1 replaced")


def test_an_address_that_is_taken_is_one_line_and_2(folder, command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = command("serve", "--data", folder, "--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "can't listen on 127.0.0.1 port" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("store", ["/proc/graph.sqlite", "/proc"])
def test_a_store_that_can_not_be_opened_is_one_line_and_2(folder, captions, command, store):
    code, _, err = command("ingest", captions, "--data", folder, "--store", store)
    assert code == 2
    assert store in err


@pytest.mark.parametrize(
    ("command_line", "said"),
    [
        (("snapshot", "embeddings", "/proc/nowhere/x.safetensors"), "can't use /proc/nowhere/x.safetensors: No such folder"),
        (("keys", "add", "trainer", "--scope", "read", "--keys-file", "/proc/nowhere/keys.json"), "can't use /proc/nowhere: "),
        (("export", "parquet", "/proc/nowhere/graph"), "can't use /proc/nowhere: "),
    ],
)
def test_a_place_that_can_not_be_written_is_named_without_pythons_words(folder, command, command_line, said):
    assert command("snapshot", "publish", "--data", folder)[0] == 0
    code, _, err = command(*command_line, "--data", folder)
    assert code == 2
    assert said in err
    assert "Errno" not in err
    assert ".kg-new" not in err


@pytest.mark.parametrize(
    "arguments", [("neighbours", "a"), ("explain", "a", "b"), ("snapshot", "embeddings", "x"), ("snapshot", "append")]
)
def test_a_step_that_was_left_out_ends_every_command_alike(folder, command, arguments):
    """A missing vocabulary is 2 as well: a script that waits on 75 would wait for ever."""
    code, _, err = command(*arguments, "--data", folder)
    assert code == 2
    assert "kg-service snapshot publish" in err


def test_a_vocabulary_that_was_left_out_too(folder, command):
    assert command("snapshot", "publish", "--data", folder)[0] == 0
    code, _, err = command("explain", "a", "b", "--data", folder, "--vocabulary", folder / "none")
    assert code == 2
    assert "kg-service vocabulary build" in err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--port", "80000", "--port 80000: Input should be less than or equal to 65535"),
        ("--root-path", "kg", "--root-path 'kg': String should match pattern"),
    ],
)
def test_an_option_is_named_as_it_was_given(folder, command, option, value, said):
    code, _, err = command("serve", "--data", folder, option, value)
    assert code == 2
    assert f"error: {said}" in err
