"""Two services on one read-only folder behind a proxy: equal bytes, publications that reach both, and one that is killed."""

import threading
from contextlib import ExitStack, closing

import httpx2
import pytest
from kg_service.batch.run import run as run_batch
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.pruning import prune
from nbclip.client import Service as Client
from nbclip.codec import MEDIA_TYPE
from nbclip.errors import Forbidden
from nbclip.schemas.snapshots import PublishRequest
from support.batches import NAMES, in_turn, planned, small_vocabulary
from support.replicas import Proxy, ReadOnlyFolder
from support.service import Service, run
from support.tcp import free_port
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
REACHES_ALL_WITHIN_S = 2
"""As docs/scale.md says."""
IDS = [f"image-{number}" for number in range(64)]
WRITER = "https://kg.example.org"


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return small_vocabulary(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture
def publish(tmp_path, vocabulary):
    """Publishes, as a process of its own, images whose captions follow from a number; returns the snapshot's id."""

    def now(number):
        words, work = list(NAMES.values()), tmp_path / f"work-{number}"
        captions = [f"{words[place % (3 + number)]}, {words[place % 5]}" for place in range(len(IDS))]
        rows = "".join(f'{image_id},"{caption}"\n' for image_id, caption in zip(IDS, captions, strict=True))
        (tmp_path / f"{number}.csv").write_text(f"image_id,caption\n{rows}")
        batch, plan = planned(work, vocabulary, [tmp_path / f"{number}.csv"], shard_rows=40)
        assert run_batch(batch, plan, in_turn) == {}
        code, out, said, _ = run("batch", "publish", work, "--data", tmp_path / "data", "--vocabulary", vocabulary, settings={})
        assert code == 0, said
        return out.strip()

    return now


@pytest.fixture
def shared(tmp_path, publish):
    """A data folder that holds one snapshot and nothing else, read-only."""
    publish(0)
    folder = ReadOnlyFolder(tmp_path / "data")
    yield folder
    folder.remove()


@pytest.fixture
def replicas(shared):
    """Two services on that folder; they have ports, and neither vocabulary nor graph."""
    settings = {"KG_READ_ONLY": "true", "KG_WRITER": WRITER}
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(Service(shared.path, settings, port=free_port(), inside=shared.inside))) for _ in range(2)
        ]


@pytest.fixture
def proxy(replicas, tmp_path):
    with Proxy(tmp_path, replicas) as running:
        yield running


class Training:
    """Asks for the targets of one batch again and again, as ranks do; `steps` are answers like the first one."""

    def __init__(self, url):
        self.client, self.steps, self.trouble = Client(url), 0, None
        self._first = self._ask()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _ask(self):
        matrix = self.client.targets(IDS)
        return matrix.values.tobytes(), matrix.metadata["snapshot"]

    def _run(self):
        try:
            while not self._stop.is_set():
                assert self._ask() == self._first, "another answer"
                self.steps += 1
        except Exception as error:  # noqa: BLE001 - the test says what it was
            self.trouble = error

    def goes_on(self, steps=5):
        """Waits for so many further steps."""
        wanted = self.steps + steps
        eventually(lambda: self.trouble or self.steps >= wanted, 60)
        assert self.trouble is None, repr(self.trouble)

    def close(self):
        self._stop.set()
        self._thread.join()
        self.client.close()


def answer(url, **asked):
    """The bytes of an answer to `POST /v1/targets`."""
    found = httpx2.post(f"{url}/v1/targets", json={"image_ids": IDS, **asked}, headers={"accept": MEDIA_TYPE}, timeout=60)
    assert found.status_code == 200, found.text
    return found.content


def current(url):
    return httpx2.get(f"{url}/v1/info", timeout=60).json()["snapshot"]


def test_replicas_serve_one_folder_through_a_publication_a_pruning_and_a_kill(shared, replicas, proxy, publish, record_property):
    urls = [proxy.url, *(replica.url for replica in replicas)]
    first, before = current(proxy.url), shared.tree()
    assert len({answer(url) for url in urls}) == len({answer(url, knowledge="noise") for url in urls}) == 1
    with closing(Training(proxy.url)) as training:
        with shared.writable():
            second = publish(1)
            took = eventually(lambda: [current(replica.url) for replica in replicas] == [second] * 2, REACHES_ALL_WITHIN_S)
        record_property("a publication reaches both, s", round(took, 2))
        training.goes_on()
        assert answer(urls[0]) == answer(urls[1]) == answer(urls[2]) != answer(urls[0], snapshot=first)
        with shared.writable():
            assert prune(SnapshotFolder(shared.path / "snapshots"), keep=0) == [first]
        training.goes_on()
        replicas[0].kill(with_children=True)
        training.goes_on(20)
        assert training.client.snapshot.id == first
    assert current(proxy.url) == second
    assert replicas[1].process.poll() is None
    after = shared.tree()
    assert {path for path in after if second not in path} <= before.keys(), "a replica has written"


def test_what_a_replica_does_not_do_it_refuses_at_once_and_names_who_does(replicas, shared):
    before = shared.tree()
    with Client(replicas[0].url) as client, pytest.raises(Forbidden, match=WRITER):
        client.publish(PublishRequest())
    assert replicas[0].client.get("/readyz?for=targets").status_code == 200
    assert replicas[0].client.get("/readyz?for=ingest").status_code == 503
    assert shared.tree() == before
