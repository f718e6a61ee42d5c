"""deploy/secrets.sh, run as a user runs it."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from kg_service.app.keys import Keyring

SCRIPT = Path(__file__).parents[3] / "deploy" / "secrets.sh"
NAMES = {"neo4j_password", "trainer_key", "admin_key", "ray_token", "grafana_password", "keys.json"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "a folder"


def make(folder, *, exit_status=0):
    finished = subprocess.run(["sh", SCRIPT, folder], capture_output=True, text=True, check=False)
    assert finished.returncode == exit_status, finished.stderr
    return finished.stdout + finished.stderr


def contents(folder):
    return {file.name: file.read_text() for file in folder.iterdir()}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_service_knows_the_keys_and_what_they_may_do(folder):
    make(folder)
    keyring = Keyring(folder / "keys.json")
    found = {name: keyring.find(contents(folder)[f"{name}_key"]) for name in ("trainer", "admin")}
    assert {name: key.scopes for name, key in found.items()} == {"trainer": ("read",), "admin": ("admin",)}
    assert {name: key.name for name, key in found.items()} == {"trainer": "trainer", "admin": "admin"}


def test_only_the_owner_gets_in_and_containers_can_read(folder):
    make(folder)
    assert mode(folder) == 0o700
    assert {file.name: mode(file) for file in folder.iterdir()} == dict.fromkeys(NAMES, 0o444)


def test_secrets_are_long_and_never_the_same(tmp_path):
    make(tmp_path / "one")
    make(tmp_path / "two")
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    made = [folder[name] for folder in (one, two) for name in NAMES - {"keys.json"}]
    assert len(set(made)) == 10
    assert all(len(secret.removeprefix("nbkg_")) == 64 for secret in made)


def test_nothing_secret_is_printed(folder):
    printed = make(folder)
    assert all(name in printed for name in NAMES)
    assert not any(secret in printed for name, secret in contents(folder).items())


def test_a_second_run_changes_nothing(folder):
    make(folder)
    before = contents(folder)
    assert make(folder) == ""
    assert contents(folder) == before


@pytest.mark.parametrize("lost", sorted(NAMES - {"keys.json", "ray_token", "grafana_password"}))
def test_a_lost_secret_is_not_replaced_by_one_that_nobody_knows(folder, lost):
    make(folder)
    (folder / lost).unlink()
    assert lost in make(folder, exit_status=1)
    assert not (folder / lost).exists()


@pytest.mark.parametrize("new", ["ray_token", "grafana_password"])
def test_what_was_not_there_yet_is_added(folder, new):
    make(folder)
    before = contents(folder)
    (folder / new).unlink()
    assert make(folder) == f"made {folder}/{new}\n"
    after = contents(folder)
    assert after | {new: before[new]} == before
    assert after[new] != before[new]


def test_what_was_interrupted_is_finished(folder):
    make(folder)
    before = contents(folder)
    (folder / "keys.json").unlink()
    (folder / "admin_key").unlink()
    make(folder)
    after = contents(folder)
    assert set(after) == NAMES
    assert after["trainer_key"] == before["trainer_key"]
    assert Keyring(folder / "keys.json").find(after["admin_key"]).name == "admin"


@pytest.mark.parametrize(
    "there", ["", "KG_PORT=1", "KG_PORT=1\n", "KG_PORT=1\nNBCLIP_SECRETS=/else\n"]
)  # pragma: allowlist secret
def test_compose_finds_them_by_the_file_env(tmp_path, there):
    checkout = tmp_path / "checkout"
    (checkout / "deploy").mkdir(parents=True)
    script = shutil.copy(SCRIPT, checkout / "deploy")
    if there:
        (checkout / ".env").write_text(there)
    for _ in range(2):
        subprocess.run(["sh", script], cwd=tmp_path, check=True, capture_output=True)
    lines = (checkout / ".env").read_text().splitlines()
    assert lines == ([*there.splitlines()] if "NBCLIP" in there else [*there.splitlines(), "NBCLIP_SECRETS=./secrets"])
    assert set(contents(checkout / "secrets")) == NAMES
