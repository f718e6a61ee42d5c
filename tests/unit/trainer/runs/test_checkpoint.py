import logging

import pytest
import torch
from nbclip.errors import BrokenArtefact, NotFound
from nbclip_trainer.runs.checkpoint import Checkpoint, has_checkpoint, load_checkpoint, part, save_checkpoint, share_locked
from support.deaths import deaths_of


def save(run_dir, step, loss=None, keep=2, best_by="loss", **others):
    tensors = {"model.w": torch.full((3,), float(step)), "optimizer.w/step": torch.tensor(float(step))}
    validations = [{"step": 0, "loss": 0.0}, *([] if loss is None else [{"step": step, "loss": loss, **others}])]
    state = {"validations": validations, "note": "x"}
    save_checkpoint(run_dir, Checkpoint(step, tensors, state), keep=keep, best_by=best_by)


def steps(run_dir):
    return sorted(int(path.stem.split("-")[1]) for path in (run_dir / "checkpoints").glob("*.safetensors"))


def test_what_was_saved_comes_back(tmp_path):
    assert not has_checkpoint(tmp_path)
    save(tmp_path, 5, 1.5)
    found = load_checkpoint(tmp_path)
    assert has_checkpoint(tmp_path)
    assert found.step == 5
    assert found.state == {"validations": [{"step": 0, "loss": 0.0}, {"step": 5, "loss": 1.5}], "note": "x"}
    assert part(found.tensors, "model")["w"].tolist() == [5, 5, 5]
    assert part(found.tensors, "optimizer")["w/step"].item() == 5
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_views_that_share_memory_are_saved_whole(tmp_path):
    base = torch.arange(6.0).reshape(2, 3)
    save_checkpoint(tmp_path, Checkpoint(1, {"a": base.T, "b": base[0].clone()}, {}), keep=1)
    assert torch.equal(load_checkpoint(tmp_path).tensors["a"], base.T)


def test_the_newest_and_the_best_are_kept(tmp_path):
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, None), (5, 2.5)):
        save(tmp_path, step, loss)
    assert steps(tmp_path) == [2, 4, 5]
    assert load_checkpoint(tmp_path).step == 5
    assert load_checkpoint(tmp_path, "best").step == 2


def test_the_best_is_that_by_the_figure_asked_for_and_of_equal_ones_the_first(tmp_path):
    for step, (loss, recall) in enumerate([(3.0, 0.1), (1.0, 0.4), (2.0, 0.4), (1.5, 0.2), (4.0, None)], 1):
        save(tmp_path, step, loss, keep=1, best_by="recall", recall=recall)
    assert steps(tmp_path) == [2, 5]
    assert load_checkpoint(tmp_path, "best", "recall").step == 2
    with pytest.raises(NotFound, match="no checkpoint with a validation precision_at_10"):
        load_checkpoint(tmp_path, "best", "precision_at_10")


def test_checkpoints_of_the_first_version_have_a_best(tmp_path):
    for step, loss in ((1, 2.0), (2, 1.0), (3, None)):
        tensors = {"model.w": torch.zeros(1)}
        save_checkpoint(tmp_path, Checkpoint(step, tensors, {"valid_loss": loss}), keep=3)
    assert load_checkpoint(tmp_path, "best").step == 2


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "record", "empty record"])
def test_a_damaged_newest_falls_back_to_the_one_before_with_a_warning(tmp_path, caplog, damage):
    save(tmp_path, 1)
    save(tmp_path, 2)
    tensors = tmp_path / "checkpoints" / "step-00000002.safetensors"
    record = tensors.with_suffix(".json")
    match damage:
        case "cut":
            tensors.write_bytes(tensors.read_bytes()[:-4])
        case "flip":
            content = bytearray(tensors.read_bytes())
            content[-1] ^= 1
            tensors.write_bytes(content)
        case "gone":
            tensors.unlink()
        case "record":
            record.write_text(record.read_text()[:20])
        case "empty record":
            record.write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(tmp_path).step == 1
    assert "step-00000002" in caplog.text


def test_no_whole_checkpoint_is_an_error_that_says_so(tmp_path):
    with pytest.raises(NotFound, match="no checkpoint"):
        load_checkpoint(tmp_path)
    save(tmp_path, 1)
    with pytest.raises(NotFound, match="no checkpoint with a validation loss"):
        load_checkpoint(tmp_path, "best")
    (tmp_path / "checkpoints" / "step-00000001.safetensors").write_bytes(b"")
    with pytest.raises(BrokenArtefact, match="none of 1"):
        load_checkpoint(tmp_path)


def test_dying_at_any_write_leaves_the_checkpoint_before_or_the_new_one(tmp_path, record_property):
    def prepare(call):
        (tmp_path / str(call)).mkdir()
        save(tmp_path / str(call), 1)
        return lambda: save(tmp_path / str(call), 2)

    found = []
    for call in deaths_of(prepare):
        run_dir = tmp_path / str(call)
        found.append(load_checkpoint(run_dir).step)
        save(run_dir, 3)
        assert load_checkpoint(run_dir).step == 3
        assert not list((run_dir / "checkpoints").glob(".*"))
    assert found == sorted(found)
    assert set(found) == {1, 2}
    record_property("deaths", len(found))


def test_tensors_that_never_counted_are_cleared_away(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "checkpoints" / "step-00000009.safetensors").write_bytes(b"left over")
    save(tmp_path, 2)
    assert steps(tmp_path) == [1, 2]


def test_a_validation_loss_that_is_no_number_is_never_the_best(tmp_path):
    for step, loss in ((1, 0.2), (2, float("nan")), (3, 0.5)):
        save(tmp_path, step, loss, keep=1)
    assert load_checkpoint(tmp_path, "best").step == 1


def test_what_is_locked_is_written_once_and_comes_back_with_each(tmp_path):
    locked = {"model.tower": torch.arange(1000.0)}
    written = set()
    for step in (1, 2, 3):
        tensors = {**locked, "model.head": torch.full((2,), float(step))}
        save_checkpoint(tmp_path, Checkpoint(step, tensors, {}, frozenset(locked)), keep=2)
        written.add((tmp_path / "checkpoints" / "locked.safetensors").stat().st_mtime_ns)
    assert len(written) == 1
    assert all(path.stat().st_size < 1000 for path in (tmp_path / "checkpoints").glob("step-*"))
    found = load_checkpoint(tmp_path)
    assert found.tensors.keys() == {"model.tower", "model.head"}
    assert torch.equal(found.tensors["model.tower"], locked["model.tower"])
    assert found.locked == locked.keys()
    assert found.state == {}


def test_runs_share_the_file_of_weights_that_none_of_them_changes(tmp_path):
    towers = {"model.tower": torch.arange(1000.0)}
    others = {"model.tower": torch.ones(1000)}
    for name, locked in {"a": towers, "b": towers, "c": others}.items():
        (tmp_path / name).mkdir()
        save_checkpoint(tmp_path / name, Checkpoint(1, {**locked, "model.head": torch.ones(2)}, {}, frozenset(locked)), keep=1)
        for _ in range(2):
            share_locked(tmp_path / name, tmp_path / "towers")
    file = {name: (tmp_path / name / "checkpoints" / "locked.safetensors").stat() for name in "abc"}
    assert file["a"].st_ino == file["b"].st_ino != file["c"].st_ino
    assert len(list((tmp_path / "towers").iterdir())) == 2
    for name, locked in {"a": towers, "b": towers, "c": others}.items():
        assert torch.equal(load_checkpoint(tmp_path / name).tensors["model.tower"], locked["model.tower"])


def test_a_run_without_locked_weights_shares_none(tmp_path):
    save_checkpoint(tmp_path, Checkpoint(1, {"model.head": torch.ones(2)}, {}), keep=1)
    share_locked(tmp_path, tmp_path / "towers")
    assert not (tmp_path / "towers").exists()


def test_locked_weights_of_a_run_that_had_no_checkpoint_yet_are_not_taken_for_this_ones(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / "locked.safetensors"
    file.write_bytes(b"of another run that was killed")
    save_checkpoint(tmp_path, Checkpoint(1, {"model.tower": torch.ones(2)}, {}, frozenset({"model.tower"})), keep=1)
    assert load_checkpoint(tmp_path).tensors["model.tower"].tolist() == [1, 1]
    file.write_bytes(b"damaged")
    with pytest.raises(BrokenArtefact, match="none of 1 checkpoints is whole"):
        load_checkpoint(tmp_path)
