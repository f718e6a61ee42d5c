import contextlib
import io
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.config import DataSettings
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.pictures import bad_pictures, load_pictures, open_picture
from nbclip_trainer.data.planner import BatchPlan, PlannedBatch
from nbclip_trainer.errors import BadPicture
from nbclip_trainer.parallel.world import World
from nbclip_trainer.presets import load_config
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

PICTURE = PreprocessCfg(size=32, resize_mode="squash")


def config(*overrides):
    return load_config("nbclip-tiny", [*overrides])


ON_DISK = ("data.pictures=disk", "augmentation.kind=open_clip")


def test_pictures_in_memory_are_what_open_clips_transform_gives(write_pairs):
    dataset = read_dataset([write_pairs(size=50)])
    loaded = load_pictures(dataset, PICTURE, config())
    transform = image_transform_v2(PICTURE, is_train=False)
    [found] = loaded.pictures.plain([[3, 0]])
    wanted = torch.stack([transform(open_picture(dataset.files[row])) for row in (3, 0)])
    assert torch.allclose(found, wanted, atol=1e-5)


def test_pictures_on_disk_are_the_same_pictures(write_pairs):
    dataset = read_dataset([write_pairs(size=50)])
    in_memory = load_pictures(dataset, PICTURE, config()).pictures
    on_disk = load_pictures(dataset, PICTURE, config(*ON_DISK, "data.workers=0")).pictures
    for found, wanted in zip(on_disk.plain([[1, 2], [5]]), in_memory.plain([[1, 2], [5]]), strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("overrides", [(), (*ON_DISK, "data.workers=0"), (*ON_DISK, "data.workers=2")])
def test_training_pictures_depend_on_seed_and_step_alone(write_pairs, overrides):
    pictures = load_pictures(read_dataset([write_pairs()]), PICTURE, config(*overrides)).pictures
    plan = BatchPlan(32, 8, 2, 1)
    torch.manual_seed(1)
    straight = list(pictures.training(plan.batches()))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = list(pictures.training(plan.batches(3)))
    assert all(torch.equal(one, other) for one, other in zip(straight[3:], again, strict=True))
    assert torch.equal(torch.get_rng_state(), state), "the run's random state is left alone"
    twice = [PlannedBatch(step, 0, np.arange(8)) for step in (0, 1)]
    first, second = pictures.training(twice)
    assert not torch.allclose(first, second, atol=1e-2), "another step draws other changes"


@pytest.mark.parametrize("overrides", [(), ON_DISK])
def test_ranks_together_draw_the_pictures_of_one_process(write_pairs, overrides):
    dataset = read_dataset([write_pairs()])
    pictures = load_pictures(dataset, PICTURE, config(*overrides, "data.workers=0")).pictures
    batch = PlannedBatch(4, 0, np.arange(3, 15))
    [whole] = pictures.training([batch])
    shares = [next(pictures.training([World(torch.device("cpu"), rank, 3).share(batch)])) for rank in range(3)]
    assert torch.equal(torch.cat(shares), whole)


def test_the_number_of_workers_does_not_change_a_pixel(write_pairs):
    dataset = read_dataset([write_pairs()])

    def first_batch(workers):
        pictures = load_pictures(dataset, PICTURE, config(*ON_DISK, f"data.workers={workers}")).pictures
        return next(pictures.training([PlannedBatch(0, 0, np.arange(8))]))

    assert torch.equal(first_batch(0), first_batch(2))


def spoil(path, rows):
    """Makes pictures unusable in different ways."""
    for number, row in enumerate(rows):
        file = path.parent / f"{row}.png"
        match number % 3:
            case 0:
                file.write_bytes(file.read_bytes()[:300])
            case 1:
                file.unlink()
            case 2:
                file.write_text("no picture")


@pytest.mark.parametrize("overrides", [(), ON_DISK])
def test_bad_pictures_are_left_out_and_named(write_pairs, overrides):
    path = write_pairs(train=100, valid=0)
    spoil(path, [7, 30, 61])
    loaded = load_pictures(read_dataset([path]), PICTURE, config("data.max_bad_share=0.03", *overrides))
    assert len(loaded.dataset) == 97
    assert "id30" not in loaded.dataset.ids
    assert [bad.split(": ")[0] for bad in loaded.bad] == [f"{path}:{line}" for line in (9, 32, 63)]
    [kept] = loaded.pictures.plain([[7]])
    [wanted] = load_pictures(read_dataset([path]).take([8]), PICTURE, config(*overrides)).pictures.plain([[0]])
    assert loaded.dataset.ids[7] == "id8"
    assert torch.equal(kept, wanted)


def test_too_many_bad_pictures_stop_the_run(write_pairs):
    path = write_pairs(train=100, valid=0)
    spoil(path, [7, 30])
    with pytest.raises(InvalidInput, match=r"2 of 100 pictures can't be decoded, first: .*pairs.csv:9"):
        load_pictures(read_dataset([path]), PICTURE, config())


def test_a_picture_that_goes_missing_during_the_run_is_named(write_pairs):
    path = write_pairs()
    pictures = load_pictures(read_dataset([path]), PICTURE, config(*ON_DISK, "data.workers=0")).pictures
    (path.parent / "3.png").unlink()
    with pytest.raises(BadPicture, match=r"3\.png"):
        list(pictures.plain([[3]]))


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    """240 million pixels in 30 kB; also under a limit that Pillow itself would only warn of."""
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 12_000)).save(path)
    with pytest.raises(BadPicture):
        open_picture(path)
    Image.new("1", (300, 300)).save(path)
    with pytest.raises(BadPicture, match="300 x 300 pixels, over the limit of 80000"):
        open_picture(path, max_pixels=80_000)
    assert open_picture(path, max_pixels=90_000).size == (300, 300)


def test_pixels_between_pillows_warning_and_its_limit_do_not_warn(tmp_path):
    Image.new("1", (9_500, 9_500)).save(tmp_path / "large.png")
    (tmp_path / "pairs.csv").write_text("image_id,file,caption\na,large.png,one\n")
    dataset = read_dataset([tmp_path / "pairs.csv"])
    assert bad_pictures(dataset, config("data.max_pixels=100000000").data) == []
    [bad] = bad_pictures(dataset, config("data.max_pixels=1000000").data)
    assert bad.startswith(f"{tmp_path}/pairs.csv:2: ")


def test_greys_of_16_bits_keep_their_contrast(tmp_path):
    grey = np.arange(1000, 5096, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    found = np.asarray(open_picture(tmp_path / "deep.png"))
    assert found.shape == (64, 64, 3)
    assert found.min() == 0
    assert found.max() == 255
    assert len(np.unique(found)) == 256
    Image.fromarray(np.full((4, 4), 9, np.uint16)).save(tmp_path / "flat.png")
    assert np.asarray(open_picture(tmp_path / "flat.png")).max() == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = "tiff" if mode in {"CMYK", "F", "I"} else "png"
    Image.new(mode, (8, 8)).save(tmp_path / f"x.{suffix}")
    assert open_picture(tmp_path / f"x.{suffix}").mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_decode_or_are_refused_and_nothing_else(tmp_path, kind):
    generator = random.Random(0)
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(whole, kind)
    path = tmp_path / "damaged"
    for _ in range(150):
        content = bytearray(whole.getvalue())
        for _ in range(generator.randrange(1, 6)):
            content[generator.randrange(min(len(content), 400))] = generator.randrange(256)
        path.write_bytes(content[: generator.choice([len(content), generator.randrange(len(content))])])
        with contextlib.suppress(BadPicture):
            assert open_picture(path, max_pixels=1_000_000).mode == "RGB"


def test_the_shortest_side_is_cropped_where_the_model_wants_it(write_pairs, tmp_path):
    Image.new("RGB", (64, 32)).save(tmp_path / "wide.png")
    (tmp_path / "pairs.csv").write_text("image_id,file,caption\na,wide.png,one\n")
    loaded = load_pictures(read_dataset([tmp_path / "pairs.csv"]), replace(PICTURE, resize_mode="shortest"), config())
    [pixels] = loaded.pictures.plain([[0]])
    assert pixels.shape == (1, 3, 32, 32)


def test_headers_alone_are_enough_to_find_what_is_no_picture(write_pairs, tmp_path):
    path = write_pairs()
    files = read_dataset([path]).files
    files[0].write_bytes(b"no picture")
    files[1].write_bytes(files[1].read_bytes()[: files[1].stat().st_size // 2])
    dataset = read_dataset([path])
    found = {check: len(bad_pictures(dataset, DataSettings(check=check))) for check in ("decode", "headers")}
    assert found == {"decode": 2, "headers": 1}


def test_a_users_limit_of_pixels_goes_before_pillows(tmp_path):
    Image.new("1", (20_000, 9_000)).save(tmp_path / "large.png")
    assert open_picture(tmp_path / "large.png", max_pixels=200_000_000).size == (20_000, 9_000)
    with pytest.raises(BadPicture, match="over the limit of 100000000"):
        open_picture(tmp_path / "large.png")
