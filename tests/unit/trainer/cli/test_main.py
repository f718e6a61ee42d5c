import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest
from nbclip_trainer.cli.main import main
from nbclip_trainer.config.reading import preset_names
from nbclip_trainer.config.saved import read_config
from nbclip_trainer.data import indexing, stored
from PIL import Image


@pytest.fixture
def nbclip(monkeypatch, capsys):
    """Runs the command in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nbclip", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def sets(overrides):
    return [part for override in overrides for part in ("--set", override)]


def test_presets_are_listed_and_shown_in_full(nbclip, tmp_path):
    code, out, _ = nbclip("presets")
    assert code == 0
    assert all(name in out for name in preset_names())
    code, out, _ = nbclip("presets", "tiny-nbclip")
    (tmp_path / "mine.yaml").write_text(out)
    assert nbclip("presets", tmp_path / "mine.yaml")[1] == out


def test_targets_are_inspected_in_tables_and_as_json(nbclip, metadata, tmp_path):
    noise = "{knowledge: noise, noise: per_image}"
    given = ["--data", metadata, "--set", "batch_size=16", "--source", "labels={knowledge: labels}", "--source", f"noise={noise}"]
    code, out, _ = nbclip("targets", "inspect", *given, "--json", tmp_path / "targets.json")
    assert code == 0
    assert all(word in out for word in ("purity: modality_organ", "even: .", "labels", "change of mass", "3 batches of 16"))
    found = json.loads((tmp_path / "targets.json").read_text())
    assert [one["name"] for one in found["sources"]] == ["labels", "noise"]
    assert 0 < found["changes"][0]["change"]["value"] <= 1


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("none.safetensors", "none.safetensors: no image vectors of a snapshot"),
        ("a=none.safetensors", "none.safetensors: no image vectors of a snapshot"),
        ("={knowledge: dk}", "is no file and no settings with a name"),
        ("a=[1, 2]", "is no file and no settings with a name"),
        ("a={knowledge: umls}", "targets.knowledge='umls'"),
        ("a={knowledge: dk}", "no URL is given"),
    ],
)
def test_a_source_that_is_none_is_refused_in_a_line(nbclip, metadata, source, complaint):
    code, _, err = nbclip("targets", "inspect", "--data", metadata, "--set", "batch_size=16", "--source", source)
    assert code == 2
    assert complaint in " ".join(err.split())


def test_a_run_prints_its_folder_and_progress_apart(nbclip, small, tmp_path):
    code, out, err = nbclip("train", "--preset", "tiny-clip", "--run", tmp_path / "run", *sets(small()))
    assert code == 0
    assert out.strip() == str(tmp_path / "run")
    assert err.startswith("nbclip-tiny, 24 pairs, 6 steps in 2 epochs, cpu; infonce, targets identity\n")
    assert "epoch 2/2  step 6  validation loss" in err


def test_data_given_by_option_are_known_from_anywhere(nbclip, small, write_pairs, tmp_path, monkeypatch):
    path = write_pairs()
    monkeypatch.chdir(path.parent)
    overrides = [override for override in small() if not override.startswith("data.files")]
    code, _, _ = nbclip("train", "-p", "tiny-clip", "--data", path.name, "--run", tmp_path / "run", *sets(overrides))
    assert code == 0
    assert read_config(tmp_path / "run").data.files == (path,)


def test_resuming_needs_no_preset(nbclip, small, tmp_path):
    nbclip("train", "-p", "tiny-clip", "--run", tmp_path / "run", *sets(small()))
    assert nbclip("train", "--run", tmp_path / "run")[0] == 2
    assert nbclip("train", "--resume", "--run", tmp_path / "run")[0] == 0
    code, _, err = nbclip("train", "--resume", "--run", tmp_path / "none")
    assert (code, f"no run in {tmp_path / 'none'}" in err, "to start one give --preset" in err) == (2, True, True)
    code, _, err = nbclip("train", "--run", tmp_path / "none")
    assert (code, "no --preset given" in err) == (2, True)


@pytest.mark.parametrize("arguments", [("report",), ("evaluate",), ("export", "--out", "model")])
def test_a_folder_without_a_run_is_called_that_and_not_an_unevaluated_run(nbclip, tmp_path, arguments):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "none", tmp_path / "empty"):
        code, _, err = nbclip(arguments[0], folder, *arguments[1:])
        assert (code, f"no run in {folder}" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "tiny-cilp"], "error: no preset 'tiny-cilp'"),
        (["--preset", "tiny-clip"], "error: no data given"),
        (["--preset", "tiny-clip", "--data", "none.csv"], "none.csv: No such file"),
        (["--preset", "tiny-clip", "--set", "epoch=1"], "error: unknown key 'epoch', did you mean 'epochs'?"),
        (["--preset", "tiny-clip", "--set", "epochs=0"], "error: epochs=0: should be greater than or equal to 1"),
        (["--preset", "tiny-clip", "--set", "device.name=gpu"], "error: device.name='gpu'"),
    ],
)
def test_wrong_input_is_one_line_a_hint_and_status_2(nbclip, tmp_path, arguments, message):
    code, out, err = nbclip("train", "--run", tmp_path / "run", *arguments)
    assert code == 2
    assert message in err
    assert "hint: " in err
    assert "Traceback" not in err
    assert out == ""


def test_brackets_in_a_message_are_shown_as_they_are(nbclip, tmp_path):
    (tmp_path / "a.csv").write_text("image_id,file,caption\n[bold]x[/bold],none.png,one\n[bold]x[/bold],none.png,one\n")
    assert "image_id '[bold]x[/bold]' was already at" in nbclip("validate", "--data", tmp_path / "a.csv")[2]


def test_a_service_away_at_the_start_is_status_75(nbclip, small, tmp_path, service):
    service.stop()
    overrides = sets(small("service.give_up_after=0.5"))
    code, _, err = nbclip("train", "-p", "tiny-nbclip", "--run", tmp_path / "run", "--service", service.url, *overrides)
    assert code == 75
    assert service.url in err


def test_validate_counts_splits_or_shows_the_first_bad_rows(nbclip, write_pairs):
    path = write_pairs()
    code, out, _ = nbclip("validate", "--data", path)
    assert (code, out.strip()) == (0, "32 pairs, all good: 24 train, 8 valid")
    for row in (3, 5, 9):
        (path.parent / f"{row}.png").write_bytes(b"x")
    code, _, err = nbclip("validate", "--data", path, "--show", "2")
    assert code == 2
    assert "3 of 32 images can't be decoded" in err
    assert f"{path}:5: " in err
    assert f"{path}:7: " in err
    assert "and 1 more" in err


def test_validate_goes_on_within_the_limits_of_a_run_and_names_what_is_left_out(nbclip, write_pairs):
    path = write_pairs()
    (path.parent / "3.png").write_bytes(b"x")
    path.write_text(path.read_text().replace("\n", "\nnone,0.png,nan,train\n", 1))
    limits = ("data.max_bad_row_share=0.1", "data.max_bad_share=0.05")
    code, out, err = nbclip("validate", "--data", path, *sets(limits))
    assert (code, out.strip()) == (0, "33 pairs, 31 good, 2 left out: 23 train, 8 valid")
    assert f"1 of 33 rows can't be used, and a run leaves them out, up to data.max_bad_row_share=0.1:\n  {path}:2: " in err
    assert f"1 of 32 images can't be decoded, and a run leaves them out, up to data.max_bad_share=0.05:\n  {path}:6: " in err
    for limit, what in (("data.max_bad_row_share=0.03", "1 of 33 rows"), ("data.max_bad_share=0.04", "1 of 32 images")):
        code, _, err = nbclip("validate", "--data", path, *sets((*limits, limit)))
        assert (code, f"{what} can't be" in err, f"more than {limit}" in err) == (2, True, True)


def test_validate_says_of_frames_before_it_refuses(nbclip, write_pairs):
    path = write_pairs()
    pages = Image.new("L", (8, 8)), Image.new("L", (8, 8), 9)
    pages[0].save(path.parent / "2.png", "TIFF", save_all=True, append_images=pages[1:])
    for row in range(3, 9):
        (path.parent / f"{row}.png").write_bytes(b"x")
    code, out, err = nbclip("validate", "--data", path)
    assert (code, "6 of 32 images" in err) == (2, True)
    assert f"files of several images, of which the first is taken: 1, at {path}:4 (2)" in out


@pytest.mark.parametrize("split", ["train_split=trainn", "valid_split=validd"])
def test_validate_refuses_splits_that_are_not_there(nbclip, write_pairs, split):
    code, _, err = nbclip("validate", "--data", write_pairs(), "--set", f"data.{split}")
    assert (code, f"no row of split {split.partition('=')[2]!r}" in err, "splits there are: train, valid" in err) == (
        2,
        True,
        True,
    )
    assert nbclip("validate", "--data", write_pairs(), "--set", f"data.{split.partition('=')[0]}=null")[0] == 0


def test_validate_tells_of_cut_captions_and_refuses_leaks(nbclip, write_pairs):
    path = write_pairs()
    lines = path.read_text().splitlines()
    lines[1] = f"id0,0.png,{' '.join(['bone'] * 90)},train"
    path.write_text("\n".join(lines))
    told = "captions cut at the {} tokens that the text tower reads: 1, the longest of 92; targets come from whole captions"
    assert told.format(77) in nbclip("validate", "--data", path)[1]
    assert told.format(24) in nbclip("validate", "--data", path, "--preset", "tiny-clip")[1]
    path = write_pairs(group="p7")
    code, _, err = nbclip("validate", "--data", path)
    assert code == 2
    assert f"leak: values of group in two splits: 1, p7 (train at {path}:2, valid at {path}:26)" in err
    assert nbclip("validate", "--data", path, "--set", "data.allow_leaks=true")[0] == 0


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (
            "kind",
            "only Recall@K of captions can be scored: "
            "split 'retrieval' has none of the columns modality, organ, modality_organ, cuis",
        ),
        ("organ", ""),
        ("cuis", ""),
        (None, "nothing can be scored: no row of split 'retrieval'"),
    ],
)
def test_labels_that_nobody_would_find_are_told_before_training(nbclip, write_pairs, column, said):
    path = write_pairs()
    if column is not None:
        frame = pl.read_csv(path).with_columns(split=pl.col("split").replace("valid", "retrieval"))
        frame.with_columns(pl.lit("C0000001").alias(column)).write_csv(path)
    code, _, err = nbclip("validate", "--data", path, "--set", "data.valid_split=null")
    assert code == 0
    assert f"warning: {said}" in " ".join(err.split()) if said else "can be scored" not in err


def test_a_training_warns_of_a_retrieval_split_without_labels_and_of_no_other(nbclip, small, write_pairs, tmp_path, caplog):
    path = write_pairs()
    without = ("epochs=1", "data.valid_split=null")
    nbclip("train", "-p", "tiny-clip", "--run", tmp_path / "none", *sets(small(*without, data=path)))
    assert "can be scored" not in caplog.text
    pl.read_csv(path).with_columns(split=pl.col("split").replace("valid", "retrieval")).write_csv(path)
    nbclip("train", "-p", "tiny-clip", "--run", tmp_path / "run", *sets(small(*without, data=path)))
    assert "only Recall@K of captions can be scored: split 'retrieval' has none of the columns modality, organ" in caplog.text


def test_a_run_is_evaluated_and_reported(nbclip, small, write_pairs, tmp_path):
    path = write_pairs(train=120)
    frame = pl.read_csv(path)
    frame.with_columns(modality=pl.col("caption").str.split(" ").list.last()).write_csv(path)
    nbclip("train", "-p", "tiny-clip", "--run", tmp_path / "run", *sets(small("epochs=1", data=path)))
    code, out, _ = nbclip("evaluate", tmp_path / "run", "--split", "train", "--checkpoint", "best", "--device", "cpu")
    assert code == 0
    evaluation = json.loads(Path(out.strip()).read_text())
    assert evaluation["checkpoint"] == "best"
    assert evaluation["class_pictures"] == 120
    frame.with_columns(pl.col("caption").str.split(" ").list.last().alias("Körperteil")).write_csv(path)
    other = ("evaluate", tmp_path / "run", "--split", "train", "--device", "cpu", "--out")
    code, out, err = nbclip(*other, tmp_path / "unlabelled")
    assert (code, "name another: --set data.columns.modality=COLUMN" in " ".join(err.split())) == (0, True)
    assert {one["task"] for one in json.loads(Path(out.strip()).read_text())["figures"]} == {"pair"}
    code, out, _ = nbclip(*other, tmp_path / "other", "--set", "data.columns.modality=Körperteil")
    assert code == 0
    assert json.loads(Path(out.strip()).read_text())["classes"]["modality"] == evaluation["classes"]["modality"]
    code, out, _ = nbclip("report", tmp_path / "run", "--out", tmp_path / "report.html")
    assert (code, out.strip()) == (0, str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_folder_of_an_experiment_is_reported_alone_and_by_its_own_grid(nbclip, tmp_path):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "grid.yaml").write_text("preset: nbclip-tiny\nseeds: [1]\narms: {clip: {title: CLIP}}\n")
    code, _, err = nbclip("report", tmp_path / "grid", tmp_path / "run")
    assert (code, "is reported alone" in err) == (2, True)
    code, _, err = nbclip("report", tmp_path / "grid", "--baseline", tmp_path / "run")
    assert (code, "leave --baseline out" in err) == (2, True)
    code, _, err = nbclip("report", tmp_path / "grid")
    assert (code, "no seed is scored in every arm yet (0 of 1 runs are)" in err) == (2, True)
    (tmp_path / "grid" / "grid.yaml").write_text("seeds: []")
    code, _, err = nbclip("report", tmp_path / "grid")
    assert (code, "grid.yaml: damaged" in err) == (1, True)


def test_linking_needs_a_service(nbclip, tmp_path):
    code, _, err = nbclip("evaluate", tmp_path, "--link")
    assert (code, "--link needs a service" in err, "hint: --service http" in err) == (2, True, True)


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_a_folder_without_a_run_is_refused(nbclip, tmp_path, command):
    code, _, err = nbclip(command, tmp_path)
    assert code == 2
    assert str(tmp_path) in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["train", "--help"], "nbclip train --preset tiny-nbclip"), (["presets", "tiny-nbclip"], "knowledge: dk_ek")],
)
def test_help_and_presets_do_not_wait_for_torch(arguments, said):
    code = f"""if True:
        import sys
        from nbclip_trainer.cli.main import main
        sys.argv = ["nbclip", *{arguments}]
        try:
            main()
        except SystemExit:
            print("torch" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said in done.stdout
    assert done.stdout.rstrip().endswith("False")


def test_help_lists_the_walk_first_and_in_its_order(nbclip):
    _, out, _ = nbclip("--help")
    commands = [line.split()[1] for line in out.splitlines() if line.startswith("│ ") and line[2].islower()]
    assert commands == [
        "train",
        "evaluate",
        "report",
        "export",
        "presets",
        "validate",
        "index",
        "experiment",
        "example",
        "targets",
    ]


def test_the_version_is_that_of_the_distribution(nbclip):
    assert nbclip("--version")[:2] == (0, f"nbclip {version('nbclip-trainer')}\n")


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGUSR1, 85)])
def test_a_signal_ends_with_a_checkpoint_and_its_status(nbclip, small, tmp_path, signum, status):
    def interrupt():
        while not list((tmp_path / "run").glob("checkpoints/*.json")):
            time.sleep(0.01)
        os.kill(os.getpid(), signum)

    threading.Thread(target=interrupt, daemon=True).start()
    before = signal.getsignal(signum)
    code, _, err = nbclip("train", "-p", "tiny-clip", "--run", tmp_path / "run", *sets(small("epochs=2000")))
    assert code == status
    assert signal.getsignal(signum) is before
    newest = max((tmp_path / "run" / "checkpoints").glob("*.json"))
    assert f"stopped after step {json.loads(newest.read_text())['step']} of 6000" in err
    assert f"nbclip train --resume --run {tmp_path / 'run'}" in err


def test_an_index_is_made_once_and_is_data_like_others(nbclip, small, write_pairs, tmp_path, monkeypatch):
    path = write_pairs()
    (path.parent / "3.png").write_bytes(b"no image")
    overrides = small("data.max_bad_share=0.1", data=path)
    settings = [override for override in overrides if not override.startswith("data.files")]
    made = ("index", "--data", path, "--preset", "tiny-clip", *sets(settings), "--out", tmp_path / "index")
    code, out, _ = nbclip(*made)
    assert (code, out.splitlines()[0]) == (
        0,
        f"{tmp_path / 'index'}: 32 pairs, 24 train, 8 valid; 1 images can't be decoded, and are left out",
    )
    code, _, err = nbclip(*made)
    assert (code, "already exists" in err) == (2, True)
    monkeypatch.chdir(tmp_path)
    code, _, err = nbclip("train", "-p", "tiny-clip", "--data", "index", "--run", tmp_path / "run", *sets(settings))
    assert code == 0
    assert "24 pairs, 1 left out" in err
    assert read_config(tmp_path / "run").data.files == (tmp_path / "index",)
    code, _, err = nbclip("validate", "--data", "index", "--preset", "tiny-clip", *sets(settings))
    assert (code, "1 of 32 images can't be decoded" in err) == (0, True)
    code, _, err = nbclip("train", "-p", "tiny-clip", "--data", "index", "--run", tmp_path / "other")
    assert code == 2
    assert "tokens of nbclip-tiny, 16 a caption, and this model reads 24" in err


def test_an_index_fills_the_cache_that_a_run_takes_its_images_from(nbclip, small, write_pairs, tmp_path, monkeypatch):
    path, cache = write_pairs(), tmp_path / "decoded"
    (path.parent / "3.png").write_bytes(b"no image")
    overrides = small("data.max_bad_share=0.1", "data.check=none", data=path)
    settings = [override for override in overrides if not override.startswith(("data.files", "data.pictures"))]
    made = ("index", "--data", path, "--preset", "tiny-clip", *sets(settings), "--out", tmp_path / "index", "--cache", cache)
    code, out, _ = nbclip(*made)
    assert code == 0
    assert out.splitlines()[1:] == [
        f"{cache}: images of train; 1 can't be decoded, and are left out",
        f"{cache}: images of valid",
    ]
    filled = {file.name: file.stat().st_mtime_ns for file in cache.iterdir() if file.suffix != ".lock"}
    assert len(filled) == 4

    def decodes(*_):
        raise AssertionError

    monkeypatch.setattr(stored, "look_over", decodes)
    taken = (*settings, "data.pictures=cache", f"data.cache={cache}")
    code, _, err = nbclip("train", "-p", "tiny-clip", "--data", tmp_path / "index", "--run", tmp_path / "run", *sets(taken))
    assert (code, "24 pairs, 1 left out" in err) == (0, True)
    assert filled == {file.name: file.stat().st_mtime_ns for file in cache.iterdir() if file.suffix != ".lock"}


def test_a_cache_that_is_stopped_leaves_a_whole_index(nbclip, write_pairs, tmp_path, monkeypatch):

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stored, "look_over", stop)
    made = ("--data", write_pairs(), "--preset", "tiny-clip", "--out", tmp_path / "index", "--cache", tmp_path / "decoded")
    code, _, err = nbclip("index", *made)
    assert (code, err.strip().startswith("stopped; the index is whole")) == (130, True)
    assert (tmp_path / "index" / "index.json").is_file()


def test_an_index_that_is_stopped_goes_on_with_the_same_command(nbclip, write_pairs, tmp_path, monkeypatch):

    def stop(*_):
        raise KeyboardInterrupt

    made = ("index", "--data", write_pairs(), "--preset", "tiny-clip", "--out", tmp_path / "index")
    with monkeypatch.context() as patched:
        patched.setattr(indexing, "looked_at", stop)
        code, _, err = nbclip(*made)
    assert (code, err.strip()) == (130, "stopped; the same command continues")
    assert nbclip(*made)[0] == 0


GRID = """
preset: nbclip-tiny
seeds: [1]
sets: {valid: {split: valid}}
arms:
  clip: {title: CLIP}
  dk: {title: DK, snapshot: own, set: [targets.knowledge=dk, loss.name=sm]}
snapshots: {own: {}}
"""


def test_shipped_grids_are_listed(nbclip):
    code, out, _ = nbclip("experiment", "--list")
    assert code == 0
    assert "tables" in out
    assert "The paper's two tables" in out


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        (None, "no grid given", "--list"),
        (GRID, "snapshots of a service are needed (own), and no URL is given", "--service"),
        (
            "linked_cuis: true\npreset: nbclip-tiny\nseeds: [1]\nsets: {valid: {split: valid}}\narms: {clip: {title: CLIP}}\n",
            "captions are to be linked (linked_cuis), and no URL is given",
            "--service",
        ),
        (
            GRID.replace("title: CLIP", "titel: CLIP"),
            "unknown key 'arms.clip.titel', did you mean 'title'?",
            "docs/experiments.md",
        ),
        (GRID.replace("=dk,", "=kd,"), "arms.dk: targets.knowledge='kd'", "nbclip presets"),
    ],
)
def test_an_experiment_that_can_not_be_made_is_refused_in_a_line_before_the_first_run(nbclip, small, tmp_path, text, says, hint):
    (tmp_path / "grid.yaml").write_text(text or "")
    given = [] if text is None else [tmp_path / "grid.yaml"]
    code, _, err = nbclip("experiment", *given, "--out", tmp_path / "out", *sets(small()))
    assert (code, says in err, hint in err) == (2, True, True)
    assert not list(tmp_path.glob("out/*/*"))


def test_the_example_is_written_once_and_can_be_trained_on(nbclip, tmp_path):
    code, out, err = nbclip("example", tmp_path / "new" / "example")
    assert (code, out) == (0, f"{tmp_path}/new/example\n")
    assert f"kg-service vocabulary build {tmp_path}/new/example/vocabulary" in err
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["example"]
    code, out, _ = nbclip("validate", "--data", tmp_path / "new" / "example" / "metadata.csv")
    assert (code, out) == (0, "187 pairs, all good: 141 train, 29 retrieval, 17 valid\n")
    code, _, err = nbclip("example", tmp_path / "new" / "example")
    assert code == 2
    assert "new/example already exists" in err
    assert "choose another folder" in err
