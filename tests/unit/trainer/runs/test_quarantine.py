import pytest
from nbclip.errors import BrokenArtefact
from nbclip_trainer.runs.quarantine import Quarantined, append_quarantine, read_quarantine, write_quarantine


def left_out(number):
    return Quarantined(image_id=f"id{number}", split=None, step=number, place=f"p.csv:{number}", reason='"cut"\noff')


def test_what_was_left_out_is_read_again_in_its_order(tmp_path):
    assert read_quarantine(tmp_path) == []
    write_quarantine(tmp_path, [left_out(1), left_out(2)])
    append_quarantine(tmp_path, [left_out(3)])
    assert read_quarantine(tmp_path) == [left_out(1), left_out(2), left_out(3)]
    assert len((tmp_path / "quarantine.jsonl").read_text().splitlines()) == 3
    write_quarantine(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_a_kill_cut_off_is_passed_over_and_a_foreign_one_is_named(tmp_path):
    write_quarantine(tmp_path, [left_out(1)])
    path = tmp_path / "quarantine.jsonl"
    path.write_text(path.read_text() + '{"image_id": "id2", "spl')
    assert read_quarantine(tmp_path) == [left_out(1)]
    path.write_text(path.read_text() + "\n")
    with pytest.raises(BrokenArtefact, match=r"quarantine\.jsonl:2: no image") as damaged:
        read_quarantine(tmp_path)
    assert damaged.value.hint == "remove the line"
