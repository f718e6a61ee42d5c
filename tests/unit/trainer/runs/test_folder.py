import json
import subprocess
import sys
import textwrap

import pytest
from nbclip.errors import BrokenArtefact, Conflict, NotFound
from nbclip_trainer.runs.folder import check_same_data, git_commit, locked, read_facts, write_facts


def test_facts_come_back(tmp_path):
    write_facts(tmp_path, {"data": {"train": {"sha256": "x"}}})
    facts = read_facts(tmp_path)
    assert facts["data"]["train"]["sha256"] == "x"
    assert facts["versions"]["torch"]
    assert facts["git"] == git_commit()


def test_a_folder_without_a_run_and_a_damaged_one_are_named(tmp_path):
    with pytest.raises(NotFound, match=r"run\.json"):
        read_facts(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(BrokenArtefact, match=r"run\.json"):
        read_facts(tmp_path)


def test_changed_data_are_refused(tmp_path):
    write_facts(tmp_path, {"data": {"train": {"pairs": 3, "sha256": "x"}}})
    check_same_data(tmp_path, {"data": {"train": {"pairs": 3, "sha256": "x"}}})
    with pytest.raises(Conflict, match=r"train.sha256: 'x' -> 'y'"):
        check_same_data(tmp_path, {"data": {"train": {"pairs": 3, "sha256": "y"}}})


def test_a_second_process_is_kept_out_and_the_lock_dies_with_its_owner(tmp_path):
    code = f"""
        from pathlib import Path
        from nbclip_trainer.runs.folder import locked
        with locked(Path({str(tmp_path)!r})):
            print("held", flush=True)
            input()
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(Conflict, match="another process"), locked(tmp_path):
        pass
    owner.kill()
    owner.communicate()
    with locked(tmp_path):
        pass


def test_facts_are_json_that_others_can_read(tmp_path):
    write_facts(tmp_path, {"steps": 3})
    assert json.loads((tmp_path / "run.json").read_text())["steps"] == 3
