"""One batch by every executor: the same bytes of every shard and of the snapshot."""

import hashlib
import shutil
from pathlib import Path

import pytest
from support.batches import contents
from support.service import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]
ENDS_WITHIN_S = 600


@pytest.fixture
def result(plan, settings, tmp_path):
    """What becomes of a folder in which a function links: its files, and those of the snapshot."""
    planned = plan("planned", rows=100)

    def of(name, link):
        folder = Path(shutil.copytree(planned, tmp_path / name))
        for process in link(folder):
            assert process.wait(ENDS_WITHIN_S) == 0, process.stderr.read()
            process.stderr.close()
        own = settings | {"KG_DATA": str(tmp_path / f"{name} data"), "KG_VOCABULARY": f"{settings['KG_DATA']}/vocabulary"}
        code, published, said, _ = run("batch", "publish", folder, settings=own)
        assert code == 0, said
        snapshot = tmp_path / f"{name} data" / "snapshots" / published.strip()
        # The manifest says when it was made.
        files = [path for path in snapshot.rglob("*") if path.is_file() and path.name != "manifest.json"]
        assert files
        return published, contents(folder), {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return of


def test_every_executor_gives_the_same_bytes(start, result, nodes, record_property):
    on_ray = ("--ray", nodes.address)
    expected = result("one process", lambda folder: [start(folder, "--workers", "1")])
    assert len(expected[1]) == 2 * 41
    assert result("two processes", lambda folder: [start(folder, "--workers", "2")]) == expected
    assert result("jobs", lambda folder: [start(folder, "--workers", "1", "--shard", f"{i}/3") for i in (2, 3, 1)]) == expected
    assert result("one node", lambda folder: [start(folder, *on_ray, **nodes.environment)]) == expected
    nodes.start("two")
    assert result("two nodes", lambda folder: [start(folder, *on_ray, **nodes.environment)]) == expected
    record_property("executors", 5)
