"""A batch meets a full disk, a node that would link otherwise, a second job, and captions that kill who links them."""

import hashlib
import os
import re
import signal
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import VocabularyFilters
from support.batches import contents
from support.neo4j.disk import SmallDisk
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
EXAMPLES = Path(__file__).parents[3] / "examples"
ENDS_WITHIN_S = 300
LEFT_BYTES = 128 << 10
BOUND = """mount --bind "$1" "$2" && shift 2 && exec "$@" """
"""Runs a command for which a folder is another one."""


@pytest.fixture
def disk(tmp_path):
    with closing(SmallDisk(tmp_path / "disk", 64 << 20)) as disk:
        yield disk


@pytest.fixture
def other_vocabulary(tmp_path):
    """A prefix of commands for which the vocabulary's folder has another one."""

    def of(data):
        build_vocabulary(EXAMPLES / "vocabulary", tmp_path / "narrow", VocabularyFilters(semantic_types=("T023",)))
        return ["unshare", "--map-root-user", "--mount", "sh", "-c", BOUND, "sh", str(tmp_path / "narrow"), f"{data}/vocabulary"]

    return of


@pytest.fixture
def joined(request):
    """Starts a second node of the cluster, which is gone after the test."""
    begun = []

    def start(**options):
        nodes = request.getfixturevalue("nodes")
        nodes.start("two", **options)
        begun.append(nodes)
        return nodes

    yield start
    for nodes in begun:
        nodes.kill("two")


def done(folder):
    return len(list(folder.glob("done/*.json")))


def test_a_full_disk_ends_the_job_and_it_goes_on_when_there_is_room(plan, start, disk, tmp_path):
    whole = plan("whole", rows=50)
    with start(whole, "--workers", "2") as process:
        assert process.wait(ENDS_WITHIN_S) == 0
    there = tmp_path / "disk" / "work"
    disk.run('mkdir "$1/work" && cp "$2/plan.json" "$1/work"', str(whole))
    disk.fill(LEFT_BYTES)
    with start(there, "--workers", "2", inside=disk.inside) as process:
        said = process.communicate(timeout=ENDS_WITHIN_S)[1]
    assert process.returncode == 75, said
    assert re.search(r"error: shard \d+ can't be kept: .*No space left", said)
    assert 0 < int(disk.run('ls "$1/work/done" | wc -l')) < 81
    disk.free()
    with start(there, "--workers", "2", inside=disk.inside) as process:
        assert process.wait(ENDS_WITHIN_S) == 0
    digests = dict(reversed(line.split()) for line in disk.run('cd "$1/work/linked" && sha256sum *').splitlines())
    assert digests == {name: hashlib.sha256(content).hexdigest() for name, content in contents(whole).items()}


def test_a_node_with_another_version_is_named_and_nothing_is_linked(plan, start, joined, tmp_path):
    folder, there = plan("work", rows=50), tmp_path / "there"
    (there / "nbclip_kg_service-9.9.9.dist-info").mkdir(parents=True)
    (there / "nbclip_kg_service-9.9.9.dist-info" / "METADATA").write_text("Name: nbclip-kg-service\nVersion: 9.9.9\n")
    nodes = joined(settings={"PYTHONPATH": str(there)})
    with start(folder, "--ray", nodes.address, **nodes.environment) as driver:
        said = driver.communicate(timeout=ENDS_WITHIN_S)[1]
    assert driver.returncode == 2, said
    assert re.match(r"error: node \S+ \(two\) has nbclip-kg-service 9\.9\.9, not ", said)
    assert not (folder / "done").exists()


def test_a_node_with_another_vocabulary_is_named_before_or_when_it_joins(plan, start, nodes, joined, settings, other_vocabulary):
    folder, inside = plan("work", rows=2), other_vocabulary(settings["KG_DATA"])
    with start(folder, "--ray", nodes.address, **nodes.environment) as driver:
        eventually(lambda: done(folder), ENDS_WITHIN_S)
        joined(inside=inside)
        said = driver.communicate(timeout=ENDS_WITHIN_S)[1]
    assert driver.returncode == 2, said
    assert re.match(rf"error: node \S+: {folder} was planned with vocabulary \w+, here it is \w+\n", said)
    before = done(folder)
    assert before < 2_021
    with start(folder, "--ray", nodes.address, **nodes.environment) as driver:
        said = driver.communicate(timeout=ENDS_WITHIN_S)[1]
    assert driver.returncode == 2, said
    assert re.match(rf"error: node \S+ \(two\) can't link: {folder} was planned with vocabulary \w+, here it is \w+\n", said)
    assert done(folder) == before


def test_a_second_job_is_refused_and_the_first_goes_on(plan, start):
    folder = plan("work", rows=1)
    with start(folder, "--workers", "1") as first:
        eventually(lambda: done(folder), ENDS_WITHIN_S)
        for options in ((), ("--shard", "1/2"), ("--ray", "local")):
            with start(folder, *options) as second:
                said = second.communicate(timeout=ENDS_WITHIN_S)[1]
            assert (second.returncode, "another" in said) == (75, True), said
        assert first.wait(ENDS_WITHIN_S) == 0
    assert done(folder) == 4_042


@pytest.mark.parametrize("executor", ["processes", "ray"])
def test_a_shard_that_kills_three_processes_is_named_and_the_others_are_linked(executor, plan, start, joined, tmp_path):
    deadly, harmless = tmp_path / "deadly.csv", tmp_path / "harmless.csv"
    for path, count in ((deadly, 40_000), (harmless, 400)):
        path.write_text("image_id,caption\n" + "".join(f"{path.stem}{row},left pleural effusion\n" for row in range(count)))
    folder = plan("work", deadly, harmless, rows=40_000)
    options, more = (("--workers", "2"), {})
    if executor == "ray":
        nodes = joined()
        options, more = ("--ray", nodes.address), nodes.environment
    with start(folder, *options, **more) as driver:
        killed = kill_who_reads(deadly, driver)
        said = driver.communicate(timeout=ENDS_WITHIN_S)[1]
    assert (driver.returncode, killed) == (1, 3), said
    assert f"error: shard 0, {deadly}:1-40001: 3 processes that linked it died\n" in said
    assert [path.name for path in (folder / "done").iterdir()] == ["00001.json"]


def kill_who_reads(path, driver):
    """Kills each process but the driver that has the file open, until the driver ends; how many."""
    killed = set()
    while driver.poll() is None:
        for opened in Path("/proc").glob("[0-9]*/fd/*"):
            process = int(opened.parts[2])
            with suppress(OSError):
                if process != driver.pid and process not in killed and str(opened.readlink()) == str(path):
                    os.kill(process, signal.SIGKILL)
                    killed.add(process)
        time.sleep(0.05)
    return len(killed)
