from nbclip_trainer.data.checking import bad_images
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.settings import DataSettings
from PIL import Image


def test_pixels_between_pillows_warning_and_its_limit_do_not_warn(tmp_path):
    Image.new("1", (9_500, 9_500)).save(tmp_path / "large.png")
    (tmp_path / "pairs.csv").write_text("image_id,file,caption\na,large.png,one\n")
    dataset = read_dataset([tmp_path / "pairs.csv"])
    assert bad_images(dataset, DataSettings(max_pixels=100_000_000)) == []
    [bad] = bad_images(dataset, DataSettings(max_pixels=1_000_000))
    assert bad.startswith(f"{tmp_path}/pairs.csv:2: ")


def test_headers_alone_are_enough_to_find_what_is_no_image(write_pairs):
    path = write_pairs()
    files = read_dataset([path]).files
    files[0].write_bytes(b"no image")
    files[1].write_bytes(files[1].read_bytes()[: files[1].stat().st_size // 2])
    dataset = read_dataset([path])
    found = {check: len(bad_images(dataset, DataSettings(check=check))) for check in ("decode", "headers")}
    assert found == {"decode": 2, "headers": 1}
