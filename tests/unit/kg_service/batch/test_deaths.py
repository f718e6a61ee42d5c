"""Who links and is killed at any write loses the shard in work alone; the next run gives the bytes that it would have given."""

from kg_service.batch.run import run
from support.batches import contents, in_turn, planned, some_rows
from support.counts import often
from support.deaths import deaths_of


def test_dying_at_any_write_loses_nothing_that_is_done(memory, vocabulary, record_property):
    file = memory / "captions.csv"
    rows = some_rows(12)
    file.write_text("\n".join(",".join(row.values()) for row in [dict(zip(rows[0], rows[0], strict=True)), *rows]) + "\n")
    whole = planned(memory / "whole", vocabulary, [file])
    run(*whole, in_turn)
    expected = contents(memory / "whole")
    assert len(expected) == 6

    def prepare(call):
        batch = planned(memory / f"died {call}", vocabulary, [file])
        return lambda: run(*batch, in_turn)

    done = []
    for call in deaths_of(prepare, every=often(4, 1)):
        folder = memory / f"died {call}"
        before = {path: path.stat().st_mtime_ns for path in (folder / "done").glob("*.json")}
        batch = planned(folder, vocabulary, [file])
        assert run(*batch, in_turn) == {}
        assert contents(folder) == expected
        assert {path: path.stat().st_mtime_ns for path in before} == before
        assert not list(folder.rglob(".kg-new.*"))
        done.append(len(before))
    assert done == sorted(done)
    assert {0, 3} <= set(done)
    record_property("deaths", len(done))
