import errno
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from kg_service.batch.link import link_shard
from kg_service.batch.local import run_here
from kg_service.batch.records import Done, Failed, read_done
from kg_service.batch.run import Part, part_named, run, running
from kg_service.batch.state import bad_rows, state_of
from kg_service.storage.locks import locked
from nbclip.errors import Conflict, InvalidInput, Unavailable
from nbclip.files.notes import warn
from support.batches import contents, in_turn, planned


@pytest.fixture
def expected(batch):
    """What the batch gives in one go."""
    assert run(*batch, in_turn) == {}
    found = contents(batch[0].folder)
    for name in ("linked", "done", "failed"):
        shutil.rmtree(batch[0].folder / name)
    return found


def test_processes_and_parts_in_any_order_give_the_bytes_of_one_process(batch, expected):
    folder = batch[0].folder
    assert run(*batch, partial(run_here, workers=2)) == {}
    assert contents(folder) == expected
    for name in ("linked", "done"):
        shutil.rmtree(folder / name)
    for number in (3, 1, 2):
        assert run(*batch, in_turn, part=Part(number, 3)) == {}
    assert contents(folder) == expected


def test_the_bytes_do_not_depend_on_where_the_files_lie(batch, expected, vocabulary, files, tmp_path):
    (tmp_path / "moved").mkdir()
    moved = [Path(shutil.copy(file, tmp_path / "moved")) for file in files]
    other = planned(tmp_path / "other", vocabulary, moved)
    run(*other, in_turn)
    tables = {name: content for name, content in contents(tmp_path / "other").items() if name.endswith(".parquet")}
    assert tables == {name: expected[name] for name in tables}


def test_what_is_linked_is_not_linked_again(batch):
    linked, ended = [], []

    def counted(work, shards):
        linked.append(list(shards))
        return in_turn(work, shards)

    run(*batch, counted, part=Part(1, 2))
    run(*batch, counted, on_end=ended.append)
    assert linked == [list(range(0, 24, 2)), list(range(1, 24, 2))]
    assert [each.number for each in ended] == [*range(0, 24, 2), *range(1, 24, 2)]
    assert [each.before for each in ended] == [True] * 12 + [False] * 12
    assert ended[-1].rows == 113


@pytest.mark.parametrize("damage", ["torn", "missing", "other", "bad rows", "record"])
def test_what_is_not_what_it_was_is_named_and_linked_again(batch, expected, damage):
    folder = batch[0].folder
    run(*batch, in_turn)
    table = folder / "linked" / "00003.parquet"
    match damage:
        case "torn":
            table.write_bytes(table.read_bytes()[:-1])
        case "missing":
            table.unlink()
        case "other":
            table.write_bytes(bytes(reversed(table.read_bytes())))
        case "bad rows":
            (folder / "linked" / "00003.bad.ndjson").write_text("[]")
        case "record":
            (folder / "done" / "00003.json").write_text("{")
    redone, linked = [], []

    def counted(work, shards):
        linked.extend(shards)
        return in_turn(work, shards)

    assert run(*batch, counted, on_redo=redone.append) == {}
    assert linked == [3]
    assert ["shard 3" in each for each in redone] == ([] if damage == "record" else [True])
    assert contents(folder) == expected


def test_a_table_without_a_record_is_linked_again(batch, expected):
    run(*batch, in_turn)
    (batch[0].folder / "done" / "00003.json").unlink()
    (batch[0].folder / "linked" / "00003.parquet").write_bytes(b"torn")
    run(*batch, in_turn)
    assert contents(batch[0].folder) == expected


@pytest.mark.parametrize("change", ["gone", "grown", "other", "cut"])
def test_a_file_that_changed_is_named_and_the_others_are_linked(batch, files, change):
    folder = batch[0].folder
    content = files[0].read_bytes()
    match change:
        case "gone":
            files[0].unlink()
        case "grown":
            files[0].write_bytes(content + b"new,row,,\n")
        case "other":
            files[0].write_bytes(content.replace(b"image_id,caption", b"caption,image_id"))
        case "cut":
            files[2].write_bytes(files[2].read_bytes()[:-9])
    changed = 2 if change == "cut" else 0
    failed = run(*batch, in_turn)
    numbers = [number for number, shard in enumerate(batch[1].shards) if shard.source == changed]
    assert list(failed) == numbers
    assert all(str(files[changed]) in each.reason for each in failed.values())
    assert state_of(folder).failed == failed
    assert len(state_of(folder).done) == len(batch[1].shards) - len(numbers)
    if change != "gone" and change != "cut":
        files[0].write_bytes(content)
        assert run(*batch, in_turn) == {}
        assert state_of(folder).failed == {}


def test_a_shard_whose_process_dies_three_times_is_named_and_the_others_are_linked(batch):
    tried = []

    def deadly(work, shards):
        tried.append(list(shards))
        return ((number, None if number in (2, 5) and (number == 5 or len(tried) < 3) else work(number)) for number in shards)

    failed = run(*batch, deadly)
    assert tried[1:] == [[2, 5], [2, 5]]
    assert list(failed) == [5]
    assert "3 processes" in failed[5].reason
    assert list(state_of(batch[0].folder).failed) == [5]


def test_a_second_job_on_the_same_shards_is_refused_and_parts_of_one_whole_are_not(batch):
    folder = batch[0].folder

    def meanwhile(part):
        def other(work, shards):
            assert running(folder) == ["1/2"]
            run(*batch, in_turn, part=part)
            return in_turn(work, shards)

        return other

    for part in (Part(1, 2), Part(1, 3), Part(1, 1)):
        with pytest.raises(Unavailable, match="another"):
            run(*batch, meanwhile(part), part=Part(1, 2))
    run(*batch, meanwhile(Part(2, 2)), part=Part(1, 2))
    assert running(folder) == []
    with locked(folder, 0, name="run-1-of-1.lock"):
        assert state_of(folder).running == ("1/1",)


def test_a_full_disk_ends_the_job_and_it_goes_on_later(batch, expected, monkeypatch):
    calls = iter(range(1_000))

    def full(descriptor):
        if next(calls) > 40:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match=r"shard \d+ can't be kept.*No space left") as caught:
            run(*batch, in_turn)
    assert "free disk space" in caught.value.hint
    assert 0 < len(state_of(batch[0].folder).done) < len(batch[1].shards)
    assert state_of(batch[0].folder).failed == {}
    assert run(*batch, in_turn) == {}
    assert contents(batch[0].folder) == expected


def test_a_file_is_warned_of_once_and_others_are_after_it(vocabulary, tmp_path, caplog):
    doubled = tmp_path / "doubled.csv"
    doubled.write_text("image_id,caption,caption\n" + "".join(f"{number},pneumonia,x\n" for number in range(12)))
    batch = planned(tmp_path / "batch", vocabulary, [doubled])
    assert run(*batch, in_turn) == {}
    assert caplog.text.count("several columns are called caption") == 1
    warn("of another file")
    assert caplog.messages[-1] == "of another file"


def test_a_process_that_would_link_otherwise_or_finds_another_plan_ends_the_job(batch):
    settings = replace(batch[0].linker.settings, min_score=0.1)
    other = replace(batch[0], linker=replace(batch[0].linker, settings=settings))
    with pytest.raises(Conflict, match="min_score"):
        link_shard(other, 0)
    with pytest.raises(Conflict, match="another plan by now"):
        link_shard(replace(batch[0], plan="0" * 64), 0)


def test_records_of_another_plan_count_for_nothing(batch):
    run(*batch, in_turn)
    assert isinstance(read_done(batch[0].folder, batch[0].plan, 0), Done)
    assert read_done(batch[0].folder, "0" * 64, 0) is None


def test_the_state_says_how_far_it_is(batch):
    folder, plan = batch[0].folder, batch[1]
    before = state_of(folder)
    assert (before.rows_done, before.rate, before.left_s, before.done) == (0, 0, None, {})
    run(*batch, in_turn, part=Part(1, 2))
    half = state_of(folder)
    assert half.rows_done == sum(plan.shards[number].span.rows for number in range(0, len(plan.shards), 2))
    run(*batch, in_turn)
    state = state_of(folder)
    assert state.rows_done == state.rows == plan.rows
    assert state.rate > 0
    assert state.bad_rows.total() == len(list(bad_rows(folder, state))) > 3
    assert list(state.unknown_cuis) == ["C7777777", "UBERON:0002048"]
    assert state.summary()["shards_done"] == len(plan.shards)
    assert not isinstance(state.done[0], Failed)


@pytest.mark.parametrize("text", ["0/1", "2/1", "1", "a/b", "1/2/3", "-1/2", "1/0"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(InvalidInput, match="no such part"):
        part_named(text)


def test_parts_have_each_shard_once(batch):
    numbers = [number for part in (1, 2, 3) for number in part_named(f"{part}/3").shards(batch[1])]
    assert sorted(numbers) == list(range(len(batch[1].shards)))
