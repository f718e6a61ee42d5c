from dataclasses import replace

import pytest
import torch
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.decoding import open_image
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

INPUT = PreprocessCfg(size=32, resize_mode="squash")
ON_DISK = ("data.pictures=disk", "augmentation.kind=open_clip")


@pytest.mark.parametrize(("resize", "apart"), [("torch", 1 / 255 / min(INPUT.std) + 1e-5), ("pillow", 1e-5)])
def test_images_in_memory_are_what_open_clips_transform_gives(write_pairs, load, resize, apart):
    dataset = read_dataset([write_pairs(size=50)])
    loaded = load(dataset, f"data.resize={resize}")
    transform = image_transform_v2(INPUT, is_train=False)
    [(rows, found, _)] = loaded.images.plain([[3, 0]])
    wanted = torch.stack([transform(open_image(dataset.files[row])) for row in (3, 0)])
    assert rows == [3, 0]
    assert torch.allclose(found, wanted, atol=apart)


def test_images_on_disk_are_the_same_images(write_pairs, load):
    dataset = read_dataset([write_pairs(size=50)])
    in_memory = load(dataset).images
    on_disk = load(dataset, *ON_DISK, "data.workers=0").images
    for found, wanted in zip(on_disk.plain([[1, 2], [5]]), in_memory.plain([[1, 2], [5]]), strict=True):
        assert torch.allclose(found.pixels, wanted.pixels, atol=1e-5)


def spoil(path, rows):
    """Makes images unusable in different ways."""
    for number, row in enumerate(rows):
        file = path.parent / f"{row}.png"
        match number % 3:
            case 0:
                file.write_bytes(file.read_bytes()[:300])
            case 1:
                file.unlink()
            case 2:
                file.write_text("no image")


@pytest.mark.parametrize("overrides", [(), ON_DISK])
def test_bad_images_are_named_and_the_others_are_what_they_were(write_pairs, load, overrides):
    path = write_pairs(train=12, valid=0)
    [before] = load(read_dataset([path]), *overrides).images.plain([[6, 8]])
    spoil(path, [2, 7, 11])
    loaded = load(read_dataset([path]), *overrides)
    assert list(loaded.bad) == [2, 7, 11]
    assert all("png" in reason for reason in loaded.bad.values())
    [kept] = loaded.images.plain([[6, 8]])
    assert torch.equal(kept.pixels, before.pixels)


def test_an_image_that_can_no_more_be_decoded_is_told_in_its_batch(write_pairs, load):
    path = write_pairs()
    images = load(read_dataset([path]), *ON_DISK, "data.workers=2").images
    spoil(path, [3])
    [found] = images.plain([[2, 3, 4]])
    [good] = images.plain([[2, 4]])
    assert found.rows == [2, 4]
    assert list(found.bad) == [3]
    assert "3.png" in found.bad[3]
    assert torch.equal(found.pixels, good.pixels)
    [nothing] = images.plain([[3]])
    assert (nothing.rows, len(nothing.pixels)) == ([], 0)


def test_the_shortest_side_is_cropped_where_the_model_wants_it(load, tmp_path):
    Image.new("RGB", (64, 32)).save(tmp_path / "wide.png")
    (tmp_path / "pairs.csv").write_text("image_id,file,caption\na,wide.png,one\n")
    loaded = load(read_dataset([tmp_path / "pairs.csv"]), preprocess=replace(INPUT, resize_mode="shortest"))
    [found] = loaded.images.plain([[0]])
    assert found.pixels.shape == (1, 3, 32, 32)
