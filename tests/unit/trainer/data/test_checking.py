import pytest
from nbclip_trainer.data.checking import check_images, note_on_frames, reasons
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.settings import DataSettings
from PIL import Image


def test_pixels_between_pillows_warning_and_its_limit_do_not_warn(tmp_path):
    Image.new("1", (9_500, 9_500)).save(tmp_path / "large.png")
    (tmp_path / "pairs.csv").write_text("image_id,file,caption\na,large.png,one\n")
    dataset = read_dataset([tmp_path / "pairs.csv"])
    assert check_images(dataset, DataSettings(max_pixels=100_000_000)).bad == {}
    [bad] = reasons(dataset, check_images(dataset, DataSettings(max_pixels=1_000_000)).bad)
    assert bad.startswith(f"{tmp_path}/pairs.csv:2: ")


def test_headers_alone_are_enough_to_find_what_is_no_image(write_pairs):
    path = write_pairs()
    files = read_dataset([path]).files
    files[0].write_bytes(b"no image")
    files[1].write_bytes(files[1].read_bytes()[: files[1].stat().st_size // 2])
    dataset = read_dataset([path])
    found = {check: list(check_images(dataset, DataSettings(check=check)).bad) for check in ("decode", "headers", "none")}
    assert found == {"decode": [0, 1], "headers": [0], "none": []}


@pytest.mark.parametrize("check", ["decode", "headers"])
def test_files_that_hold_several_images_are_named_once(tmp_path, check):
    pages = [Image.new("L", (8, 8), grey) for grey in (10, 100, 200)]
    for name, kind in (("a.gif", "GIF"), ("b.tiff", "TIFF"), ("c.png", "PNG"), ("d.webp", "WEBP")):
        pages[0].save(tmp_path / name, kind, save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "one.gif")
    names = ("one.gif", "a.gif", "b.tiff", "c.png", "d.webp")
    rows = "".join(f"{name},{name},caption\n" for name in names)
    (tmp_path / "pairs.csv").write_text(f"image_id,file,caption\n{rows}")
    dataset = read_dataset([tmp_path / "pairs.csv"])
    found = check_images(dataset, DataSettings(check=check))
    assert (found.bad, found.frames) == ({}, {1: 3, 2: 3, 3: 3, 4: 3})
    note = note_on_frames(dataset, found.frames)
    assert note.startswith(f"files of several images, of which the first is taken: 4, at {tmp_path}/pairs.csv:3 (3), ")
    assert note_on_frames(dataset, {}) == ""
