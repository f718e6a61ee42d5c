"""GET /images/{id}/thumbnail: small pictures of the graph's images, and of nothing else."""

from io import BytesIO

import numpy as np
import pytest
from kg_service.app.keys import add_key
from kg_service.web.thumbnails import image_file, thumbnail
from PIL import Image

RED = (200, 30, 30)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "case" / "7").mkdir(parents=True)
    Image.new("RGB", (400, 100), RED).save(tmp_path / "images" / "effusion.jpg")
    Image.new("L", (30, 60), 90).save(tmp_path / "images" / "case" / "7" / "a.png")
    Image.new("RGB", (10, 10)).save(tmp_path / "images" / "stranger.png")
    Image.new("RGB", (10, 10)).save(tmp_path / "secret.png")
    return tmp_path / "images"


@pytest.fixture
def pictured(service, folder):
    return service(images=folder)


def picture(answer):
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    return Image.open(BytesIO(answer.content))


def test_a_picture_is_a_jpeg_within_the_side_that_is_asked_for(pictured):
    assert picture(pictured.get("/v1/images/effusion/thumbnail")).size == (256, 64)
    small = picture(pictured.get("/v1/images/effusion/thumbnail?side=40"))
    assert small.size == (40, 10)
    assert np.abs(np.asarray(small, int) - RED).max() < 12
    assert picture(pictured.get("/v1/images/case/7/a.png/thumbnail")).size == (30, 60)


def test_browsers_keep_it_until_it_changes(pictured, folder):
    first = pictured.get("/v1/images/effusion/thumbnail")
    assert first.headers["cache-control"] == "private, max-age=3600"
    kept = {"if-none-match": first.headers["etag"]}
    again = pictured.get("/v1/images/effusion/thumbnail", headers=kept)
    assert (again.status_code, again.content) == (304, b"")
    assert pictured.get("/v1/images/effusion/thumbnail?side=40", headers=kept).status_code == 200
    Image.new("RGB", (500, 100), RED).save(folder / "effusion.jpg")
    assert pictured.get("/v1/images/effusion/thumbnail", headers=kept).status_code == 200


@pytest.mark.parametrize("image_id", ["stranger", "..%2Fsecret", "%2Fetc%2Fpasswd", "fracture", "a" * 300])
def test_there_is_no_picture_of_what_is_no_image_or_has_none(pictured, image_id, problem):
    assert problem(pictured.get(f"/v1/images/{image_id}/thumbnail"), 404, "not-found")


@pytest.mark.parametrize("side", [15, 1025, "x"])
def test_a_side_is_bounded(pictured, side):
    assert pictured.get(f"/v1/images/effusion/thumbnail?side={side}").status_code == 422


def test_a_file_that_is_no_image_is_named_without_its_folder(pictured, folder, problem):
    (folder / "fracture.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    told = problem(pictured.get("/v1/images/fracture/thumbnail"), 404, "not-found")
    assert told["detail"] == "fracture.png is no image that can be read"
    assert str(folder) not in told["hint"]


def test_a_service_without_a_folder_has_no_pictures_and_says_so(client, pictured, problem):
    assert "KG_IMAGES" in problem(client.get("/v1/images/effusion/thumbnail"), 404, "not-found")["hint"]
    assert [each.get("/v1/info").json()["thumbnails"] for each in (client, pictured)] == [False, True]


def test_it_needs_the_key_that_reading_images_needs(service, data, folder):
    read, ingest = (add_key(data / "keys.json", scope, [scope]) for scope in ("read", "ingest"))
    client = service(images=folder)
    statuses = [
        client.get("/v1/images/effusion/thumbnail", headers={"authorization": f"Bearer {key}"} if key else {}).status_code
        for key in (None, ingest, read)
    ]
    assert statuses == [401, client.get("/v1/images/effusion", headers={"authorization": f"Bearer {ingest}"}).status_code, 200]


def test_no_id_leads_out_of_the_folder(folder):
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "out").symlink_to(folder.parent)
    (folder / "inside.png").symlink_to(folder / "stranger.png")
    (folder / "folder.png").mkdir()
    outside = [
        "link",
        "link.png",
        "out/secret",
        "../secret",
        "../secret.png",
        f"{folder.parent}/secret.png",
        "folder",
        "a\0b",
        ".",
    ]
    assert [each for each in outside if image_file(folder, each)] == []
    assert image_file(folder, "inside") == image_file(folder, "stranger") == folder / "stranger.png"
    assert image_file(folder, "case/../effusion") == folder / "effusion.jpg"


@pytest.mark.parametrize(
    ("name", "mode"), [("a.png", "I;16"), ("b.tif", "F"), ("c.png", "P"), ("d.png", "LA"), ("e.gif", "L"), ("f.jpg", "CMYK")]
)
def test_images_of_all_modes_become_pictures(tmp_path, name, mode):
    levels = np.tile(np.linspace(0, 4000, 64, dtype=np.float32), (32, 1))
    source = Image.fromarray(levels.astype(np.uint16)) if mode == "I;16" else Image.fromarray(levels)
    (source if mode in ("I;16", "F") else Image.fromarray((levels / 16).astype(np.uint8)).convert(mode)).save(tmp_path / name)
    found = np.asarray(Image.open(BytesIO(thumbnail(tmp_path / name, 32))).convert("L"), int)
    assert found.shape == (16, 32)
    assert found[:, 0].max() < 30 or mode == "CMYK"
    assert found[:, -1].min() > 200 or mode == "CMYK"


def test_more_than_50_million_pixels_are_not_decoded(tmp_path):
    Image.new("1", (10_000, 5_001)).save(tmp_path / "large.png")
    from nbclip.errors import NotFound

    with pytest.raises(NotFound, match=r"large.png has 10000 × 5001 pixels"):
        thumbnail(tmp_path / "large.png", 64)
