from dataclasses import replace

import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.decoding import open_image
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

INPUT = PreprocessCfg(size=32, resize_mode="squash")
ON_DISK = ("data.pictures=disk", "augmentation.kind=open_clip")


def test_images_in_memory_are_what_open_clips_transform_gives(write_pairs, load):
    dataset = read_dataset([write_pairs(size=50)])
    loaded = load(dataset)
    transform = image_transform_v2(INPUT, is_train=False)
    [found] = loaded.images.plain([[3, 0]])
    wanted = torch.stack([transform(open_image(dataset.files[row])) for row in (3, 0)])
    assert torch.allclose(found, wanted, atol=1e-5)


def test_images_on_disk_are_the_same_images(write_pairs, load):
    dataset = read_dataset([write_pairs(size=50)])
    in_memory = load(dataset).images
    on_disk = load(dataset, *ON_DISK, "data.workers=0").images
    for found, wanted in zip(on_disk.plain([[1, 2], [5]]), in_memory.plain([[1, 2], [5]]), strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)


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
def test_bad_images_are_left_out_and_named(write_pairs, load, overrides):
    path = write_pairs(train=100, valid=0)
    spoil(path, [7, 30, 61])
    loaded = load(read_dataset([path]), "data.max_bad_share=0.03", *overrides)
    assert len(loaded.dataset) == 97
    assert "id30" not in loaded.dataset.ids
    assert [bad.split(": ")[0] for bad in loaded.bad] == [f"{path}:{line}" for line in (9, 32, 63)]
    [kept] = loaded.images.plain([[7]])
    [wanted] = load(read_dataset([path]).take([8]), *overrides).images.plain([[0]])
    assert loaded.dataset.ids[7] == "id8"
    assert torch.equal(kept, wanted)


def test_too_many_bad_images_stop_the_run(write_pairs, load):
    path = write_pairs(train=100, valid=0)
    spoil(path, [7, 30])
    with pytest.raises(InvalidInput, match=r"2 of 100 images can't be decoded, first: .*pairs.csv:9"):
        load(read_dataset([path]))


def test_the_shortest_side_is_cropped_where_the_model_wants_it(load, tmp_path):
    Image.new("RGB", (64, 32)).save(tmp_path / "wide.png")
    (tmp_path / "pairs.csv").write_text("image_id,file,caption\na,wide.png,one\n")
    loaded = load(read_dataset([tmp_path / "pairs.csv"]), preprocess=replace(INPUT, resize_mode="shortest"))
    [pixels] = loaded.images.plain([[0]])
    assert pixels.shape == (1, 3, 32, 32)
