import hmac
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.app.keys import SCOPES, Key, Keyring, add_key, read_keys, refuse_open_bind, remove_key
from kg_service.config import Settings
from kg_service.storage.sweeping import sweep
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput, NotFound
from support.deaths import deaths_of


def test_a_key_is_found_by_its_secret_alone(tmp_path):
    path = tmp_path / "new" / "keys.json"
    secrets = {name: add_key(path, name, ["read"]) for name in ("a", "b")}
    ring = Keyring(path)
    assert {name: ring.find(secret).name for name, secret in secrets.items()} == {"a": "a", "b": "b"}
    assert ring.find("nbkg_") is None
    assert ring.find(read_keys(path)[0].sha256) is None
    assert len(set(secrets.values())) == 2


def test_every_key_is_compared_in_constant_time_whichever_is_right(tmp_path, monkeypatch):
    path = tmp_path / "keys.json"
    secrets = [add_key(path, name, ["read"]) for name in ("a", "b", "c")]
    held = [key.sha256.encode() for key in read_keys(path)]
    ring, compared = Keyring(path), []
    compare = hmac.compare_digest

    def noting(one, other):
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr("kg_service.app.keys.hmac.compare_digest", noting)
    for secret in (*secrets, "nbkg_wrong"):
        compared.clear()
        ring.find(secret)
        assert compared == held


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    add_key(path, "a", ["admin"])
    return Keyring(path)


@given(text=st.text())
def test_no_other_text_is_a_key(ring, text):
    assert ring.find(text) is None


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [(["read"], {"read"}), (["ingest"], {"ingest"}), (["admin"], set(SCOPES)), (["read", "ingest"], {"read", "ingest"})],
)
def test_admin_includes_all_and_ingest_does_not_include_read(scopes, allowed):
    key = Key.model_validate({"name": "a", "scopes": scopes, "sha256": "0" * 64})
    assert {scope for scope in SCOPES if key.allows(scope)} == allowed


def test_a_removed_key_is_refused_at_once_and_the_others_are_not(tmp_path):
    path = tmp_path / "keys.json"
    old, new = (add_key(path, name, ["read"]) for name in ("old", "new"))
    ring = Keyring(path)
    assert (ring.find(old).name, ring.find(new).name) == ("old", "new")
    remove_key(path, "old")
    assert ring.find(old) is None
    assert ring.find(new).name == "new"
    with pytest.raises(NotFound, match="no key called 'old'"):
        remove_key(path, "old")
    remove_key(path, "new")
    assert ring.find(new) is None
    with pytest.raises(InvalidInput, match="holds no key"):
        refuse_open_bind(Settings(data=tmp_path))


def test_a_name_is_given_once(tmp_path):
    add_key(tmp_path / "keys.json", "a", ["read"])
    with pytest.raises(Conflict, match="called a"):
        add_key(tmp_path / "keys.json", "a", ["admin"])
    assert len(read_keys(tmp_path / "keys.json")) == 1


@pytest.mark.parametrize(
    ("name", "scopes"), [("", ["read"]), ("a/b", ["read"]), ("x" * 65, ["read"]), ("a", []), ("a", ["write"])]
)
def test_what_is_no_key_is_refused_and_nothing_is_written(tmp_path, name, scopes):
    with pytest.raises(InvalidInput, match="not a key"):
        add_key(tmp_path / "keys.json", name, scopes)
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": [{"name": "a"}]}', '{"keys": [], "more": 1}', "\x00"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(BrokenArtefact, match=r"keys\.json"):
        read_keys(path)


def test_eight_commands_at_once_add_eight_keys_and_remove_four(tmp_path):
    """Processes that are let go together: each reads the file, makes its own key known, and writes it again."""
    begin = tmp_path / "begin"
    begin.write_text("")
    script = (
        "import sys, time; from pathlib import Path; from kg_service.app.keys import add_key, remove_key\n"
        "path, begin, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]\n"
        "print(flush=True)\n"
        "while begin.exists(): time.sleep(0.001)\n"
        "add_key(path, name, ['read'])\n"
        "if int(name) % 2: remove_key(path, name)\n"
    )
    path = tmp_path / "data" / "keys.json"
    command = [sys.executable, "-c", script, path, begin]
    processes = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE) for number in range(8)]
    for process in processes:
        process.stdout.readline()
    begin.unlink()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert {key.name for key in read_keys(path)} == {"0", "2", "4", "6"}


LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "localhost"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_without_keys_loopback_and_a_unix_socket_are_allowed(tmp_path, host):
    refuse_open_bind(Settings(data=tmp_path, host=host))
    refuse_open_bind(Settings(data=tmp_path, host="0.0.0.0", uds=tmp_path / "socket"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "kg", "localhost.example", "127.0.0.1.example", ""])
def test_without_keys_nothing_else_is_and_a_key_allows_it(tmp_path, host):
    settings = Settings(data=tmp_path, host=host)
    with pytest.raises(InvalidInput, match="without a key"):
        refuse_open_bind(settings)
    add_key(settings.keys_path, "a", ["read"])
    refuse_open_bind(settings)


def test_an_empty_or_missing_file_that_was_asked_for_refuses_even_loopback(tmp_path):
    path = tmp_path / "mine.json"
    with pytest.raises(InvalidInput, match="no keys file"):
        refuse_open_bind(Settings(data=tmp_path, keys_file=path))
    path.write_text(json.dumps({"keys": []}))
    with pytest.raises(InvalidInput, match="holds no key"):
        refuse_open_bind(Settings(data=tmp_path, keys_file=path))


def test_dying_at_any_write_of_a_key_leaves_the_keys_before_or_with_it(tmp_path, record_property):
    def prepare(call):
        path = tmp_path / str(call) / "keys.json"
        add_key(path, "old", ["read"])
        return lambda: add_key(path, "new", ["read"])

    found = []
    for call in deaths_of(prepare):
        sweep(tmp_path / str(call))
        left = {path.name for path in (tmp_path / str(call)).iterdir()}
        assert left - {".keys.json.lock"} == {"keys.json"}
        found.append([key.name for key in read_keys(tmp_path / str(call) / "keys.json")])
    change = found.index(["old", "new"])
    assert found == [["old"]] * change + [["old", "new"]] * (len(found) - change)
    record_property("deaths", len(found))
