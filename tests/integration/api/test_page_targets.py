"""The heat map of the page, in a real Chromium: its values are those of `POST /v1/targets`, and each has its reason."""

import re
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import expect

IDS = ["effusion", "effusion too", "pneumonia", "fracture", "empty"]


def open_targets(visit, reader):
    tab, _ = visit(reader, "/ui#targets")
    expect(tab.get_by_label("Knowledge").locator("option").first).to_be_attached()
    return tab


def show(tab, ids=IDS):
    tab.get_by_label("Images of the batch").fill("\n".join(ids))
    tab.get_by_role("button", name="Show targets").click()
    expect(tab.locator("#matrix-table tbody tr").first).to_be_visible()


def shown_row(tab):
    rows = tab.locator("#matrix-table tbody tr").all()
    cells = [row.locator("td").all_inner_texts() for row in rows]
    return {image_id: (float(target), float(similarity)) for image_id, target, similarity, _ in cells}


@pytest.mark.parametrize("variant", ["hybrid/dk_ek", "hybrid/dk"])
def test_each_row_has_the_targets_of_the_service(visit, reader, variant):
    tab = open_targets(visit, reader)
    tab.get_by_label("Knowledge").select_option(variant)
    show(tab)
    representation, knowledge = variant.split("/")
    asked = {"image_ids": IDS, "representation": representation, "knowledge": knowledge}
    targets, similarities = (
        reader.post("/targets", json={**asked, "output": kind}).json()["values"] for kind in ("targets", "similarity")
    )
    for row, image_id in enumerate(IDS):
        tab.locator("#matrix-row").select_option(image_id)
        expect(tab.locator("#matrix-table caption")).to_have_text(f"Row of {image_id}")
        expected = {
            other: (targets[row][column], similarities[row][column])
            for column, other in enumerate(IDS)
            if targets[row][column] > 0
        }
        found = shown_row(tab)
        assert found.keys() == expected.keys()
        assert np.allclose([found[each] for each in expected], [*expected.values()], rtol=0, atol=1.1e-3)
    expect(tab.locator("#matrix-table .note").first).to_contain_text("It has no concept in the snapshot")


def test_a_cell_is_as_dark_as_its_target_is_large(visit, reader):
    tab = open_targets(visit, reader)
    show(tab)
    values = np.array(reader.post("/targets", json={"image_ids": IDS}).json()["values"])
    script = """([canvas, n]) => {
      const [size, pen] = [canvas.width / n, canvas.getContext("2d")];
      const at = (i) => [(i % n + .4) * size, (Math.floor(i / n) + .4) * size, 1, 1];
      return [...Array(n * n).keys()].map((i) => [...pen.getImageData(...at(i)).data].slice(0, 3));
    }"""
    pixels = np.array(tab.evaluate(script, [tab.locator("#matrix").element_handle(), len(IDS)]), float).reshape(
        len(IDS), len(IDS), 3
    )
    beside = ~np.eye(len(IDS), dtype=bool)
    light, targets = pixels.sum(axis=2)[beside], values[beside]
    assert (np.diff(light[np.argsort(targets)]) <= 0).all()
    assert light[targets.argmax()] < light[targets.argmin()]
    assert len(np.unique(pixels[~beside], axis=0)) == 1


def test_hovering_and_the_keyboard_say_a_value_and_a_click_or_enter_says_why(visit, reader):
    tab = open_targets(visit, reader)
    show(tab)
    targets = reader.post("/targets", json={"image_ids": IDS}).json()["values"]
    canvas, value = tab.locator("#matrix"), tab.locator("#matrix-value")
    side = canvas.bounding_box()["width"] / len(IDS)
    canvas.hover(position={"x": 2.5 * side, "y": 1.5 * side})
    expect(value).to_contain_text(f"{targets[1][2]:.4f} of effusion too's row goes to pneumonia")
    canvas.focus()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowLeft")
    expect(value).to_contain_text(f"{targets[0][1]:.4f} of effusion's row goes to effusion too")
    tab.keyboard.press("Enter")
    answer = reader.post("/explain", json={"image_id": "effusion", "other_id": "effusion too"}).json()
    expect(tab.locator("#cell-why strong")).to_have_text(f"{answer['similarity']:.3f}")
    canvas.click(position={"x": 2.5 * side, "y": 1.5 * side})
    expect(tab.locator("#cell-why p").first).to_contain_text("effusion too and pneumonia: similarity")


def test_batches_can_be_taken_from_the_graph(visit, reader):
    tab = open_targets(visit, reader)
    tab.get_by_role("button", name="First images").click()
    expect(tab.locator("#status")).to_contain_text("8 images; the largest target beside the diagonal is")
    tab.get_by_label("Images of the batch").fill("effusion")
    tab.get_by_role("button", name="First id and its neighbours").click()
    near = [each["image_id"] for each in reader.get("/images/effusion/neighbours").json()["neighbours"]]
    expect(tab.locator("#status")).to_contain_text(f"{1 + len(near)} images;")
    assert tab.get_by_label("Images of the batch").input_value().split("\n") == ["effusion", *near]


def test_first_images_are_those_of_the_snapshot_also_on_a_service_that_only_reads(visit, service):
    tab = open_targets(visit, service(read_only=True))
    tab.get_by_role("button", name="First images").click()
    expect(tab.locator("#status")).to_contain_text("8 images; the largest target")
    expect(tab.locator("#matrix-table tbody tr").first).to_be_visible()


def test_a_batch_is_in_the_address_and_back_returns_to_it(visit, reader):
    tab = open_targets(visit, reader)
    tab.get_by_label("Knowledge").select_option("hybrid/dk")
    tab.get_by_label("Neighbour mass").fill("0.5")
    show(tab, ["effusion", "case/7/a.png", "ünïcode"])
    shared, _ = visit(reader, f"/ui#{urlsplit(tab.url).fragment}")
    expect(shared.locator("#matrix-table tbody tr").first).to_be_visible()
    assert shared.get_by_label("Images of the batch").input_value().split("\n") == ["effusion", "case/7/a.png", "ünïcode"]
    assert (shared.get_by_label("Knowledge").input_value(), shared.get_by_label("Neighbour mass").input_value()) == (
        "hybrid/dk",
        "0.5",
    )
    show(tab, ["effusion", "fracture"])
    expect(tab.locator("#status")).to_contain_text("2 images;")
    tab.go_back()
    expect(tab.locator("#status")).to_contain_text("3 images;")
    tab.evaluate("location.hash = 'targets/effusion,fracture?knowledge=none/dk'")
    expect(tab.locator("#status.error")).to_contain_text("The current snapshot has no none/dk")


def test_ids_stand_at_the_edges_where_they_can_be_read(visit, reader):
    tab = open_targets(visit, reader)
    show(tab)
    for edge in ("rows", "columns"):
        ids = tab.locator(f"#matrix-{edge} span")
        assert [each.get_attribute("title") for each in ids.all()] == IDS
        expect(ids.first).to_be_visible()
    canvas = tab.locator("#matrix").bounding_box()
    centre = lambda box, way, size: box[way] + box[size] / 2  # noqa: E731
    for place in range(len(IDS)):
        middle = (place + 0.5) * canvas["width"] / len(IDS)
        row, column = (tab.locator(f"#matrix-{edge} span").nth(place).bounding_box() for edge in ("rows", "columns"))
        assert abs(centre(row, "y", "height") - canvas["y"] - middle) < 3
        assert abs(centre(column, "x", "width") - canvas["x"] - middle) < 3
    tab.locator("#matrix").focus()
    tab.keyboard.press("ArrowDown")
    expect(tab.locator("#matrix-rows .chosen")).to_have_text(IDS[1])
    expect(tab.locator("#matrix-value")).to_contain_text("Row 2, column 1 of 5.")
    tab.set_viewport_size({"width": 150, "height": 600})
    expect(tab.locator("#matrix-rows")).to_be_hidden()


def test_what_is_no_batch_is_refused_in_words(visit, reader):
    tab = open_targets(visit, reader)
    for ids, says in (
        ("effusion", "two images or more"),
        ("effusion,nobody", "nobody"),
        (",".join(map(str, range(129))), "129 images"),
    ):
        tab.get_by_label("Images of the batch").fill(ids)
        tab.get_by_role("button", name="Show targets").click()
        expect(tab.locator("#status.error")).to_contain_text(re.compile(says))
        expect(tab.locator("#targets-result")).to_be_hidden()
