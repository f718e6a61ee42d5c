"""Commands are killed at random instants of their writing: what was there before serves on, or the new is there, whole."""

import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from kg_service.graph import open_store
from kg_service.ingest.pipeline import ingest_items
from kg_service.linking.builder import build_linker
from kg_service.linking.dictionary.name_index import open_name_index
from kg_service.snapshot import SnapshotFolder
from kg_service.storage.scratch import PREFIX
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary
from support.counts import often
from support.service import COMMAND, environment, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(often(300, 1_800))]
RELEASE = Path(__file__).parents[2] / "examples" / "vocabulary"
KILLS = often(1, 25)
WRITES_FOR_S = 0.6
LOOKS_EVERY_S = 0.002


def scratch_in(data):
    return [path for folder in (data, data / "snapshots") for path in folder.glob(f"{PREFIX}*")]


@pytest.fixture
def killed(data, chance):
    """Starts a command and kills it at some instant after it has begun to write, or after its end."""

    def kill(*arguments):
        command = [*COMMAND, *map(str, arguments)]
        left = scratch_in(data)
        with subprocess.Popen(command, env=environment({"KG_DATA": str(data)}), stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and set(scratch_in(data)) <= set(left):
                time.sleep(LOOKS_EVERY_S)
            time.sleep(chance.uniform(0, WRITES_FOR_S))
            process.kill()

    return kill


def test_a_build_that_is_killed_leaves_one_vocabulary_or_the_other(data, killed, tmp_path, record_property):
    narrow = ("--semantic-type", "T023")
    build_vocabulary(RELEASE, tmp_path / "narrow", VocabularyFilters(semantic_types=("T023",)))
    whole = {open_vocabulary(folder).sha256 for folder in (data / "vocabulary", tmp_path / "narrow")}
    assert len(whole) == 2
    for number in range(KILLS):
        killed("vocabulary", "build", RELEASE, *(narrow if number % 2 == 0 else ()))
        assert open_vocabulary(data / "vocabulary", verify=True).sha256 in whole
    code, _, said, _ = run("vocabulary", "build", RELEASE, *narrow, settings={"KG_DATA": str(data)})
    assert code == 0, said
    vocabulary = open_vocabulary(data / "vocabulary", verify=True)
    assert vocabulary.sha256 == open_vocabulary(tmp_path / "narrow").sha256
    open_name_index(data / "vocabulary.names", vocabulary)
    assert scratch_in(data) == []
    record_property("kills of a build", KILLS)


def test_a_publication_that_is_killed_leaves_the_snapshot_before_or_the_new_one(data, killed, items, record_property):
    snapshots, vocabulary = SnapshotFolder(data / "snapshots"), open_vocabulary(data / "vocabulary")
    linker = build_linker("dictionary", vocabulary)
    for number in range(KILLS):
        with closing(open_store(str(data / "graph.sqlite"))) as store:
            ingest_items(items[number * 10 : number * 10 + 10], store, linker, vocabulary, "reject")
        before, held = snapshots.current(), set(snapshots.ids())
        killed("snapshot", "publish")
        assert SnapshotFolder(data / "snapshots").open().id in {before, *set(snapshots.ids()) - held}
        for each in snapshots.ids():
            snapshots.verify(each)
    code, published, said, _ = run("snapshot", "publish", settings={"KG_DATA": str(data)})
    assert code == 0, said
    assert snapshots.open().id == snapshots.current() == published.strip()
    assert len(snapshots.open()) == KILLS * 10
    assert scratch_in(data) == []
    record_property("kills of a publication", KILLS)
