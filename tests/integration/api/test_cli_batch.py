"""`kg-service batch`, end to end: what it prints, what it leaves, how it ends."""

import errno
import json
import os
import signal
import subprocess

import polars as pl
import pytest
from support.batches import small_vocabulary
from support.service import COMMAND, environment
from support.waiting import eventually


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with a vocabulary alone, and captions beside it."""
    monkeypatch.chdir(tmp_path)
    small_vocabulary(tmp_path)
    rows = [("a", "Pneumonia."), ("b", "Pleural effusion and pneumonia."), ("c", "No pneumothorax."), ("d", "lung disease")]
    (tmp_path / "captions.csv").write_text("image_id,caption\n" + "".join(f"{name},{caption}\n" for name, caption in rows))
    monkeypatch.setenv("KG_VOCABULARY", str(tmp_path / "compiled"))
    return tmp_path


def test_from_captions_to_the_snapshot_that_ingest_gives(folder, command):
    code, out, _ = command("batch", "plan", "captions.csv", "work", "--shard-rows", 3)
    assert (code, out) == (
        0,
        f"4 rows of {folder / 'captions.csv'} in 2 shards; next: kg-service batch run work\n",
    )
    assert command("batch", "status", "work")[1].startswith("work: 0 of 2 shards linked, 0 of 4 rows (0%)\n")
    code, _, said = command("batch", "publish", "work")
    assert (code, "kg-service batch run work" in said) == (2, True)
    for part in ("2/2", "1/2"):
        assert command("batch", "run", "work", "--shard", part)[0] == 0
    code, out, _ = command("batch", "run", "work", "--workers", 2)
    assert (code, out) == (0, "work: 2 of 2 shards linked, 4 of 4 rows (100%)\nnext: kg-service batch publish work\n")
    code, published, said = command("batch", "publish", "work")
    assert (code, "4 images (3 with a concept)" in said) == (0, True)
    assert not (folder / "data" / "graph.sqlite").exists()
    assert command("ingest", "captions.csv", "--data", "other")[0] == 0
    assert command("snapshot", "publish", "--data", "other")[1] == published
    state = json.loads(command("batch", "status", "work", "--json")[1])
    assert (state["rows_done"], state["shards_done"], state["running"], state["failed"]) == (4, 2, [], {})


def test_bad_rows_and_contradictions_are_named_and_nothing_is_published_until_they_are_tolerated(folder, command):
    with (folder / "captions.csv").open("a") as file:
        file.write("a,other caption\n,no id\n")
    command("batch", "plan", "captions.csv", "work")
    code, out, _ = command("batch", "run", "work")
    assert code == 0
    assert "1 row left out (1 empty image_id)" in out
    code, out, said = command("batch", "publish", "work")
    assert (code, out) == (1, "")
    assert f"{folder / 'captions.csv'}:7: empty image_id" in said
    assert f"{folder / 'captions.csv'}:6: image a rejected: stored before with another caption and attributes" in said
    assert "--max-bad 2" in said
    code, published, _ = command("batch", "publish", "work", "--max-bad", 2)
    assert code == 0
    assert command("ingest", "captions.csv", "--data", "other")[0] == 1
    assert command("snapshot", "publish", "--data", "other")[1] == published


def test_a_shard_that_cannot_be_read_is_named_and_the_status_is_1(folder, command):
    (folder / "more.csv").write_text("image_id,caption\ne,lung\n")
    command("batch", "plan", "captions.csv", "more.csv", "work", "--shard-rows", 2)
    (folder / "more.csv").unlink()
    code, out, said = command("batch", "run", "work")
    assert code == 1
    assert f"shard 2, {folder / 'more.csv'}:1-2" in said
    assert "2 of 3 shards linked" in out
    assert "shard 2 failed" in command("batch", "status", "work")[1]


def test_other_settings_a_folder_without_a_plan_and_a_part_that_is_none_are_refused(folder, command, monkeypatch):
    command("batch", "plan", "captions.csv", "work")
    monkeypatch.setenv("KG_LINKER_MIN_SCORE", "0.5")
    code, _, said = command("batch", "run", "work")
    assert (code, "min_score" in said) == (2, True)
    monkeypatch.delenv("KG_LINKER_MIN_SCORE")
    code, _, said = command("batch", "run", "captions.csv")
    assert (code, "batch plan" in said) == (2, True)
    assert command("batch", "run", "work", "--shard", "3/2")[0] == 2
    code, _, said = command("batch", "run", "work", "--ray", "auto", "--workers", "2")
    assert (code, "--workers" in said) == (2, True)
    code, _, said = command("batch", "run", "work", "--ray", "ray://head:10001")
    assert (code, "--ray HOST:PORT" in said) == (2, True)


def linked(command):
    command("batch", "plan", "captions.csv", "work")
    command("batch", "run", "work")


def test_a_batch_is_copied_into_a_store_to_which_more_is_ingested(folder, command):
    linked(command)
    code, out, said = command("batch", "copy", "work", "data/graph.sqlite")
    assert (code, out.splitlines()[0], said) == (0, "4 created", "")
    assert command("batch", "copy", "work", "data/graph.sqlite")[1].splitlines()[0] == "4 unchanged"
    assert command("snapshot", "publish")[1] == command("batch", "publish", "work", "--data", "other")[1]
    (folder / "more.csv").write_text("image_id,caption\ne,lung\n")
    assert command("ingest", "more.csv")[0] == 0
    code, out, said = command("batch", "copy", "work", "data/graph.sqlite")
    assert (code, out) == (2, "")
    assert "1 images that the source lacks, nothing was copied: e" in said


def test_a_batch_is_exported_to_parquet_as_a_store_is(folder, command):
    linked(command)
    assert command("batch", "export", "parquet", "work", "files")[0] == 0
    command("ingest", "captions.csv")
    command("export", "parquet", "of-store")
    for name in ("images", "attributes", "concepts", "is_a", "relations"):
        ours, theirs = (pl.read_parquet(folder / out / f"{name}.parquet") for out in ("files", "of-store"))
        without = [column for column in ours.columns if column != "ingested_at"]
        assert ours.select(without).sort(without).equals(theirs.select(without).sort(without))


@pytest.mark.parametrize("arguments", [("export", "neo4j-admin", "work", "files"), ("copy", "work", "data/graph.sqlite")])
def test_what_is_not_linked_or_has_bad_rows_is_neither_exported_nor_copied(folder, command, arguments):
    with (folder / "captions.csv").open("a") as file:
        file.write("a,other caption\n")
    command("batch", "plan", "captions.csv", "work")
    code, out, said = command("batch", *arguments)
    assert (code, out, "kg-service batch run work" in said) == (2, "", True)
    command("batch", "run", "work")
    code, out, said = command("batch", *arguments)
    assert (code, out) == (1, "")
    assert f"{folder / 'captions.csv'}:6: image a rejected" in said
    assert not (folder / arguments[-1]).exists()
    assert command("batch", *arguments, "--max-bad", 1)[0] == 0


def admin(home, script):
    """A `neo4j-admin` that is this shell script."""
    (home / "bin").mkdir(parents=True)
    path = home / "bin" / "neo4j-admin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return home


def test_an_export_is_imported_by_the_neo4j_that_is_named(folder, command):
    linked(command)
    home = admin(folder / "a neo4j", f'echo "$@" > {folder}/arguments; ls > {folder}/files; echo imported')
    code, out, _ = command("batch", "export", "neo4j-admin", "work", "import", "--neo4j-home", home)
    assert (code, "import.sh" in out) == (0, False)
    assert (folder / "arguments").read_text().startswith("database import full --nodes=Image=./images.csv ")
    assert (folder / "files").read_text().split() == sorted(path.name for path in (folder / "import").iterdir())


def test_an_import_that_fails_keeps_the_files_and_says_how_to_repeat_it(folder, command):
    linked(command)
    home = admin(folder / "neo4j", "exit 3")
    code, _, said = command("batch", "export", "neo4j-admin", "work", "import", "--neo4j-home", home)
    assert (code, f"{home}/bin/neo4j-admin ended with status 3" in said) == (2, True)
    assert f"/bin/sh import/import.sh {home}/bin/neo4j-admin --overwrite-destination=true" in said


@pytest.mark.parametrize(
    ("format", "said_of"), [("neo4j-admin", "no program nowhere/bin/neo4j-admin"), ("parquet", "no parquet")]
)
def test_a_neo4j_that_is_not_there_or_not_needed_is_refused_before_anything_is_written(folder, command, format, said_of):
    linked(command)
    code, _, said = command("batch", "export", format, "work", "import", "--neo4j-home", "nowhere")
    assert (code, said_of in said) == (2, True)
    assert not (folder / "import").exists()


@pytest.mark.parametrize(
    "arguments", [("plan", "captions.csv", "other"), ("publish", "work"), ("export", "parquet", "work", "tables")]
)
def test_a_full_disk_is_75_for_whatever_writes_so_that_a_job_is_begun_again(folder, command, monkeypatch, arguments):
    command("batch", "plan", "captions.csv", "work")
    command("batch", "run", "work")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        code, out, said = command("batch", *arguments)
    assert (code, out) == (75, "")
    assert "No space left on device" in said
    assert "hint: free disk space" in said
    assert command("batch", *arguments)[0] == 0


def test_how_far_a_run_is_goes_to_the_log_where_there_is_no_terminal(folder, command, monkeypatch):
    monkeypatch.setattr("kg_service.cli.shown.batches._SAID_EVERY_S", 0.0)
    command("batch", "plan", "captions.csv", "work", "--shard-rows", 3)
    said = command("batch", "run", "work")[2].splitlines()
    assert [line.split("/s, ")[0].rsplit(", ", 1)[0] for line in said] == ["work: 3 of 4 rows", "work: 4 of 4 rows"]
    assert said[1].endswith(" 0:00:00 left")
    assert command("batch", "run", "work")[2] == "", "nothing was left"


def test_how_far_a_batch_is_can_be_seen_by_who_may_not_write_to_its_folder(folder, command, monkeypatch):
    command("batch", "plan", "captions.csv", "work")
    command("batch", "run", "work")

    def refused(lock):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(lock))

    monkeypatch.setattr("kg_service.batch.run.held", refused)
    code, out, _ = command("batch", "status", "work")
    assert (code, out.splitlines()[0]) == (0, "work: 1 of 1 shard linked, 4 of 4 rows (100%)")


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_says_that_it_can_be_run_again_and_nothing_else(folder, command, signum, status):
    command("batch", "plan", "captions.csv", "work", "--shard-rows", 1)
    settings = {"KG_VOCABULARY": str(folder / "compiled")}
    with subprocess.Popen(
        [*COMMAND, "batch", "run", "work", "--workers", "2"],
        env=environment(settings),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        eventually(lambda: list((folder / "work").glob("run-*.lock")), 60)
        # To the group, as a terminal does; Ctrl-C is for the command alone to hear.
        os.killpg(process.pid, signum) if signum == signal.SIGINT else process.send_signal(signum)
        assert (process.wait(60), process.stderr.read()) == (
            status,
            "stopped; what is done is kept; run the same command again\n",
        )
    assert command("batch", "run", "work")[0] == 0


def test_a_file_that_changed_is_told_once_and_what_comes_next_is_to_mend_it(folder, command):
    command("batch", "plan", "captions.csv", "work")
    with (folder / "captions.csv").open("a") as file:
        file.write("e,lung\n")
    code, out, said = command("batch", "run", "work")
    told = f"{folder / 'captions.csv'} has changed since it was planned"
    assert (code, said.count(told), out.count(told)) == (1, 1, 0)
    assert "hint: bring it back as it was, or plan the files in a new folder" in said
    assert out.splitlines()[-1] == "next: mend what failed, then: kg-service batch run work"
    out = command("batch", "status", "work")[1]
    assert out.count(f"{told}; bring it back as it was, or plan the files in a new folder") == 1
    assert out.splitlines()[-1] == "next: mend what failed, then: kg-service batch run work"


def test_status_knows_what_was_published_and_where_to(folder, command):
    linked(command)
    assert json.loads(command("batch", "status", "work", "--json")[1])["published"] == []
    first = command("batch", "publish", "work")[1].strip()
    lines = command("batch", "status", "work")[1].splitlines()
    data = folder / "data"
    assert (lines[-2].endswith(f": snapshot {first} in {data}"), lines[-1]) == (True, f"next: kg-service serve --data {data}")
    second = command("batch", "publish", "work", "--rarest-concepts", 1, "--data", "other")[1].strip()
    told = json.loads(command("batch", "status", "work", "--json")[1])["published"]
    assert [(each["snapshot"], each["data"]) for each in told] == [(first, str(data)), (second, str(folder / "other"))]


def test_the_folder_of_a_batch_has_one_name(command):
    for verb in ("plan", "run", "status", "publish", "export", "copy"):
        out = command("batch", verb, "--help")[1]
        assert "WORK" in out.split("Arguments")[0]
        assert "Folder of the batch, on" in out
