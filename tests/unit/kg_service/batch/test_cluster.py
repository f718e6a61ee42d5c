import importlib.metadata
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace

import pytest
from kg_service.batch import cluster
from kg_service.errors import MissingExtra
from nbclip.errors import InvalidInput, Unavailable
from support.batches import planned
from support.tcp import free_port

OWN = importlib.metadata.version("nbclip-kg-service")


def enter(address, batch):
    with cluster.on_cluster(address, 1, *batch):
        pytest.fail("connected")


@pytest.mark.parametrize(
    "address", ["ray://127.0.0.1:10001", "http://127.0.0.1:8265", "head", "head:", ":6379", "head:port", "", "127.0.0.1:-1"]
)
def test_what_is_no_address_of_a_head_is_refused(batch, address):
    with pytest.raises(InvalidInput, match="no address of a Ray cluster's head") as caught:
        enter(address, batch)
    assert "--ray local" in caught.value.hint


def test_auto_is_what_the_environment_names(batch, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(InvalidInput, match="ray://head:10001"):
        enter("auto", batch)


@pytest.mark.parametrize("port", ["free", "99999"])
def test_an_address_where_nobody_listens_is_said_at_once(batch, port):
    with pytest.raises(Unavailable, match="can't use the Ray cluster"):
        enter(f"127.0.0.1:{free_port() if port == 'free' else port}", batch)


def test_without_ray_the_extra_is_named(batch, monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"--ray needs the extra 'ray'.*uv pip install 'nbclip-kg-service\[ray\]'"):
        enter("local", batch)


@pytest.mark.parametrize(
    ("package", "own", "there", "lack"),
    [
        ("nbclip-kg-service", OWN, True, None),
        ("nbclip-kg-service", "9.9.9", True, f"has nbclip-kg-service {OWN}, not 9.9.9"),
        ("nbclip-kg-servant", OWN, True, "does not have nbclip-kg-servant"),
        ("nbclip-kg-service", OWN, False, "does not see {path}"),
    ],
)
def test_a_node_says_what_it_lacks(tmp_path, package, own, there, lack):
    path = tmp_path / "captions.csv"
    if there:
        path.write_text("")
    assert cluster._lack_of_node()(package, own, [str(tmp_path), str(path)]) == (lack and lack.format(path=path))


def test_a_node_without_the_package_can_say_so(tmp_path):
    script = (
        "import importlib.abc, sys\n"
        "class Without(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        assert name.partition('.')[0] not in ('kg_service', 'nbclip'), name\n"
        "sys.meta_path.insert(0, Without())\n"
        "from ray import cloudpickle\n"
        f"print(cloudpickle.loads(open({str(tmp_path / 'lack')!r}, 'rb').read())('nbclip-kg-servant', '1', []))"
    )
    from ray import cloudpickle

    (tmp_path / "lack").write_bytes(cloudpickle.dumps(cluster._lack_of_node()))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "does not have nbclip-kg-servant\n"


def test_a_node_with_another_vocabulary_folder_or_plan_is_not_ready(batch, vocabulary, files, tmp_path):
    assert cluster._unready(batch[0]) is None
    elsewhere = replace(batch[0], linker=replace(batch[0].linker, vocabulary=tmp_path / "none"))
    assert str(tmp_path / "none") in cluster._unready(elsewhere)
    assert "no plan" in cluster._unready(replace(batch[0], folder=tmp_path / "nowhere"))
    other, _ = planned(tmp_path / "other", vocabulary, files, shard_rows=7)
    assert "another plan" in cluster._unready(replace(batch[0], folder=other.folder))


def test_an_error_of_a_shard_names_its_node(monkeypatch):
    def full(number):
        raise Unavailable(f"shard {number} can't be kept", hint="free disk space")

    monkeypatch.setattr("socket.gethostname", lambda: "node-7")
    with pytest.raises(Unavailable) as caught:
        cluster._on_node(full, 3)
    assert (caught.value.message, caught.value.hint) == ("node node-7: shard 3 can't be kept", "free disk space")


def test_what_a_task_gave_what_it_died_of_and_what_it_raised():
    from ray import exceptions

    assert cluster._given(ended(result=7)) == 7
    for died in (exceptions.WorkerCrashedError(), exceptions.NodeDiedError("away"), exceptions.OutOfMemoryError("no memory")):
        assert cluster._given(ended(died)) is None
    with pytest.raises(Unavailable, match=r"the Ray cluster failed: .*raylet") as caught:
        cluster._given(ended(exceptions.LocalRayletDiedError()))
    assert "\n" not in caught.value.message
    raised = exceptions.RayTaskError("link", "traceback", InvalidInput("what", hint="how"), "task", 1, "127.0.0.1")
    with pytest.raises(InvalidInput) as caught:
        cluster._given(ended(raised.as_instanceof_cause()))
    assert type(caught.value) is InvalidInput
    assert caught.value.hint == "how"


def ended(error=None, result=None):
    future = Future()
    future.set_result(result) if error is None else future.set_exception(error)
    return future
