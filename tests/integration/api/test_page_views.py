"""The other views of the page, in a real Chromium: search, pictures, doubtful mentions, jobs; themes, keys and screen readers."""

import json
import re
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from kg_service.app.keys import add_key
from kg_service.cli.main import main
from PIL import Image
from playwright.sync_api import expect

VIEWS = ("captions", "search", "targets", "doubts", "jobs")


def rows(tab, panel):
    return [[cell.strip() for cell in row.locator("td").all_inner_texts()] for row in tab.locator(f"#{panel} tbody tr").all()]


def search(tab, words):
    tab.get_by_label("Words or a CUI").fill(words)
    tab.get_by_role("button", name="Search").click()
    expect(tab.locator("#found-images table, #found-images .note").first).not_to_have_text("Looking…")
    expect(tab.locator("#found-concepts table, #found-concepts .note").first).not_to_have_text("Looking…")


def test_a_search_finds_concepts_and_images_which_lead_on(visit, reader):
    tab, _ = visit(reader, "/ui#search")
    search(tab, "pleural eff")
    concepts = reader.get("/concepts", params={"q": "pleural eff"}).json()["concepts"]
    assert rows(tab, "found-concepts") == [[each["cui"], each["name"]] for each in concepts]
    found = reader.get("/images", params={"q": "pleural eff"}).json()["images"]
    assert [row[:2] for row in rows(tab, "found-images")] == [[each["image_id"], each["caption"]] for each in found]
    assert len(found) == 2
    tab.get_by_role("link", name="C0032227", exact=True).click()
    expect(tab.locator("#found-images-title")).to_have_text("Images that mention C0032227")
    expect(tab.locator("#found-images tbody tr")).to_have_count(2)
    parents = reader.get("/concepts/C0032227").json()["parents"]
    expect(tab.locator("#found-concepts")).to_contain_text(f"{parents[0]['cui']} {parents[0]['name']}")
    tab.locator("#found-images").get_by_role("link", name="effusion too").click()
    expect(tab.locator("#facts")).to_contain_text("Image effusion too,")
    tab.go_back()
    expect(tab.get_by_label("Words or a CUI")).to_have_value("C0032227")
    search(tab, "zzzz")
    expect(tab.locator("#found-images")).to_have_text("No image of the graph.")


def test_images_that_only_mention_a_concept_are_marked(visit, client):
    items = [
        {"image_id": "denied", "caption": "No pleural effusion."},
        {"image_id": "doubted", "caption": "Possible pleural effusion."},
        {"image_id": "both", "caption": "Pleural effusion on the left. No pleural effusion on the right."},
    ]
    assert client.post("/images", json={"items": items}).status_code == 200
    tab, _ = visit(client, "/ui#search/C0032227")
    expect(tab.locator("#found-images tbody tr")).to_have_count(5)
    concepts = {row[0]: row[2] for row in rows(tab, "found-images")}
    assert {name: text.split(",")[0].split()[-1] for name, text in concepts.items()} == {
        **dict.fromkeys(("both", "effusion", "effusion too"), "Effusion"),
        "denied": "absent",
        "doubted": "uncertain",
    }
    expect(tab.locator("#found-images .note")).to_contain_text("whose captions deny the concept")


def test_the_captions_view_pages_through_all_images(visit, client):
    items = [{"image_id": f"many/{number:02}", "caption": "Chest X-ray."} for number in range(30)]
    assert client.post("/images", json={"items": items}).status_code == 200
    tab, _ = visit(client)
    tab.get_by_text("All images of the graph").click()
    expect(tab.locator("#all-images tbody tr")).to_have_count(20)
    tab.locator("#all-images").get_by_role("button", name="More").click()
    expect(tab.locator("#all-images tbody tr")).to_have_count(38)
    tab.locator("#all-images").get_by_role("link", name="many/29").click()
    expect(tab.locator("#facts")).to_contain_text("Image many/29,")


@pytest.mark.parametrize("name", ["history", "constructor", "captionz/effusion"])
def test_an_address_without_a_view_is_told(visit, reader, name):
    tab, _ = visit(reader, f"/ui#{name}")
    expect(tab.locator("#status.error")).to_have_text(f"There is no view “{name.partition('/')[0]}”: choose one above.")
    expect(tab.locator("#captions-view")).to_be_visible()
    expect(tab.locator("#result")).to_be_hidden()


STRANGE = ["../x", "a/../b", "./a", "a//b", "x?y#z%", "100%", "<b>&amp;", "a,b", "/etc/passwd", "a b+c", "ü/✓.png"]


def test_ids_of_any_characters_stay_in_their_paths(visit, service, tmp_path):
    (tmp_path / "images").mkdir()
    for outside in ("x.png", "passwd.png"):
        Image.new("RGB", (30, 30), (200, 10, 10)).save(tmp_path / outside)
    client = service(images=tmp_path / "images")
    items = [{"image_id": each, "caption": "Chest X-ray showing a pleural effusion."} for each in STRANGE]
    assert client.post("/images", json={"items": items}).status_code == 200
    assert client.post("/snapshots", json={}).status_code == 201
    tab, requests = visit(client, "/ui#search/chest x-ray showing")
    for image_id in STRANGE:
        tab.locator("#found-images").get_by_role("link", name=image_id, exact=True).click()
        expect(tab.locator("#facts")).to_contain_text(f"Image {image_id},")
        expect(tab.locator("#neighbours tbody tr").first).to_be_visible()
        tab.go_back()
        expect(tab.locator("#found-images tbody tr")).to_have_count(len(STRANGE) + 1)
    expect(tab.locator("#found-images canvas")).to_have_count(0)
    paths = {urlsplit(request.url).path for request in requests}
    assert all(path.startswith(("/ui", "/v1/images", "/v1/concepts", "/v1/info")) for path in paths), paths
    for image_id in (".", ".."):
        tab.evaluate("id => { location.hash = `captions/${id}`; }", image_id)
        expect(tab.locator("#status.error")).to_contain_text(f"The image id {image_id} has no path of its own")


def test_what_is_compared_is_in_the_address_and_back_returns(visit, reader):
    tab, _ = visit(reader, "/ui#captions/effusion")
    tab.get_by_role("button", name="Why effusion too is similar").click()
    expect(tab.locator("#explanation strong").first).to_be_visible()
    assert urlsplit(tab.url).fragment == "captions/effusion?with=effusion+too"
    again, _ = visit(reader, f"/ui#{urlsplit(tab.url).fragment}")
    expect(again.locator("#explanation p").first).to_contain_text("effusion and effusion too: similarity")
    expect(again.locator("#graph .edge.shares").first).to_be_visible()
    tab.get_by_label("Compare with").fill("pneumonia")
    tab.get_by_role("button", name="Explain").click()
    expect(tab.locator("#explanation p").first).to_contain_text("effusion and pneumonia")
    tab.go_back()
    expect(tab.locator("#explanation p").first).to_contain_text("effusion and effusion too")
    tab.go_back()
    expect(tab.locator("#explanation")).to_be_empty()


def test_a_search_goes_on_page_by_page(visit, client):
    items = [{"image_id": f"many/{number:02}", "caption": "Chest X-ray."} for number in range(45)]
    assert client.post("/images", json={"items": items}).status_code == 200
    tab, _ = visit(client, "/ui#search/x-ray.")
    for count in (20, 40, 45):
        expect(tab.locator("#found-images tbody tr")).to_have_count(count)
        if count < 45:
            tab.locator("#found-images").get_by_role("button", name="More").click()
    expect(tab.locator("#found-images").get_by_role("button", name="More")).to_have_count(0)
    assert len({row[0] for row in rows(tab, "found-images")}) == 45


def test_pictures_are_shown_where_the_service_has_them_and_the_key_is_right(visit, service, data, tmp_path):
    Image.new("RGB", (300, 150), (10, 200, 10)).save(tmp_path / "effusion.png")
    secret = add_key(data / "keys.json", "viewer", ["read"])
    tab, requests = visit(service(images=tmp_path), "/ui#search/effusion")
    tab.get_by_label("Key of this service").fill(secret)
    tab.keyboard.press("Enter")
    picture = tab.get_by_role("img", name="Picture of effusion", exact=True)
    expect(picture).to_be_visible()
    middle = "canvas => [...canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data]"
    red, green, blue, alpha = picture.evaluate(middle)
    assert green > 180 > 40 > max(red, blue)
    assert alpha == 255
    expect(tab.locator("#found-images tbody tr")).to_have_count(2)
    assert tab.locator("#found-images canvas").count() == 1
    asked = [request for request in requests if "/thumbnail" in request.url]
    assert {request.headers["authorization"] for request in asked} == {f"Bearer {secret}"}
    tab.get_by_role("link", name="effusion", exact=True).click()
    expect(tab.locator("#picture canvas")).to_be_visible()


def test_without_pictures_none_is_asked_for(visit, reader):
    tab, requests = visit(reader, "/ui#search/effusion")
    expect(tab.locator("#found-images tbody tr")).to_have_count(2)
    tab.wait_for_load_state("networkidle")
    assert not [request for request in requests if "thumbnail" in request.url]
    assert tab.locator("canvas:visible").count() == 0


def test_marked_mentions_become_labels_that_the_linker_is_fitted_to(visit, reader, tmp_path, vocabulary_folder, capsys):
    tab, _ = visit(reader, "/ui#doubts")
    tab.get_by_label("Score below").fill("1")
    tab.get_by_role("button", name="Show mentions").click()
    images = reader.get("/images", params={"score_below": 1}).json()["images"]
    doubtful = [(image, each) for image in images for each in image["attributes"] if each["score"] < 1]
    expect(tab.locator("#doubts .doubt")).to_have_count(len(doubtful))
    expect(tab.get_by_role("button", name="Download labels")).to_be_disabled()
    wrong = doubtful[0]
    right = next(each for each in doubtful if each[0] != wrong[0])
    for (image, mention), mark in ((wrong, "wrong"), (right, "right")):
        item = tab.locator("#doubts li", has=tab.get_by_role("link", name=image["image_id"], exact=True))
        button = item.get_by_role("button", name=f"{mention['text']}: {mention['cui']} {mention['name']} is {mark}")
        button.focus()
        tab.keyboard.press("Enter")
        expect(button).to_have_attribute("aria-pressed", "true")
    expect(tab.locator("#marked")).to_have_text("1 marked right, 1 wrong, in 2 captions.")
    tab.reload()
    expect(tab.locator("#marked")).to_have_text("1 marked right, 1 wrong, in 2 captions.")
    with tab.expect_download() as downloading:
        tab.get_by_role("button", name="Download labels").click()
    file = tmp_path / "labels.ndjson"
    downloading.value.save_as(file)
    lines = {line["caption"]: line["spans"] for line in map(json.loads, file.read_text(encoding="utf-8").splitlines())}
    assert lines.keys() == {wrong[0]["caption"], right[0]["caption"]}
    expected = sorted([each["start"], each["end"], [each["cui"]]] for each in right[0]["attributes"])
    assert sorted(lines[right[0]["caption"]]) == expected
    gone = [wrong[1]["start"], wrong[1]["end"], [wrong[1]["cui"]]]
    assert gone not in lines[wrong[0]["caption"]]
    assert len(lines[wrong[0]["caption"]]) == len(wrong[0]["attributes"]) - 1
    fit = ["linker", "fit", str(file), "--vocabulary", str(vocabulary_folder), "--out", str(tmp_path / "prior"), "--holdout", "0"]
    with pytest.raises(SystemExit) as ended:
        main([*fit, "--data", str(tmp_path)])
    assert ended.value.code == 0, capsys.readouterr()
    assert (tmp_path / "prior" / "manifest.json").exists()
    asked = []

    def answer(says_yes):
        def once(dialog):
            asked.append(dialog.message)
            dialog.accept() if says_yes else dialog.dismiss()

        tab.once("dialog", once)
        tab.get_by_role("button", name="Forget marks").click()

    answer(says_yes=False)
    expect(tab.locator("#marked")).to_have_text("1 marked right, 1 wrong, in 2 captions.")
    answer(says_yes=True)
    expect(tab.locator("#marked")).to_have_text("Nothing is marked.")
    assert len(asked) == 2
    assert "1 marked right, 1 wrong" in asked[0]


def test_jobs_are_followed_until_they_end_and_what_they_made_appears(visit, client):
    job = {
        "id": "0" * 64,
        "kind": "publish",
        "state": "running",
        "created_at": "2026-11-30T20:00:00+00:00",
        "fraction": 0.4,
        "seconds": 2.5,
    }
    job |= {
        "eta_seconds": None,
        "error": "",
        "hint": "",
        "rows": 0,
        "counts": {},
        "bad_rows": 0,
        "problems": [],
        "rows_per_second": None,
    }
    job |= {"stage": "fitting noise", "snapshot": None}
    tab, _ = visit(client, "/ui")
    tab.route("**/v1/jobs?*", lambda route: route.fulfill(json={"jobs": [job], "next_cursor": None}))
    tab.get_by_role("link", name="Jobs").click()
    expect(tab.locator("#jobs tbody")).to_contain_text("40 %")
    expect(tab.locator("#jobs tbody")).to_contain_text("fitting noise")
    expect(tab.locator("#snapshots tbody tr")).to_have_count(1)
    job["fraction"] = 0.8
    expect(tab.locator("#jobs tbody")).to_contain_text("80 %")
    made = client.post("/snapshots", json={"current": False, "representations": {"noise": {"seed": 3}}})
    assert made.status_code == 201
    job |= {"fraction": 1.0, "state": "done", "snapshot": made.json()["id"]}
    expect(tab.locator("#jobs tbody")).to_contain_text("100 %")
    expect(tab.locator("#snapshots tbody tr")).to_have_count(2)
    held = client.get("/v1/snapshots").json()["snapshots"]
    assert {row[0].split()[0] for row in rows(tab, "snapshots")} == {each["id"][:12] for each in held}
    (current,) = [row for row in rows(tab, "snapshots") if row[1] == "current"]
    assert current[2:4] == ["all", "8"]


def test_dark_and_light_follow_the_system_until_the_button_says_otherwise(visit, reader):
    tab, _ = visit(reader)
    back = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(back)
    tab.emulate_media(color_scheme="dark")
    expect(tab.get_by_role("button", name="Use the light theme")).to_be_visible()
    dark = tab.evaluate(back)
    assert light == "rgb(255, 255, 255)"
    assert dark != light
    tab.get_by_role("button", name="Use the light theme").click()
    assert tab.evaluate(back) == light
    tab.reload()
    expect(tab.get_by_role("button", name="Use the dark theme")).to_be_visible()
    assert tab.evaluate(back) == light


def fill_view(tab, view):
    tab.evaluate("view => { location.hash = view; }", view)
    expect(tab.locator(f"#{view}-view")).to_be_visible()
    if view == "captions":
        tab.get_by_label("Image id").fill("effusion")
        tab.get_by_role("button", name="Show image").click()
        tab.get_by_role("button", name="Why effusion too is similar").click()
        expect(tab.locator("#graph .edge.shares").first).to_be_visible()
        tab.get_by_text("The graph as a table").click()
    elif view == "search":
        search(tab, "C0032227")
    elif view == "targets":
        tab.get_by_role("button", name="First images").click()
        expect(tab.locator("#matrix-table tbody tr").first).to_be_visible()
    elif view == "doubts":
        expect(tab.locator("#doubts .doubt, #status:has-text('No mention')").first).to_be_visible()
    else:
        expect(tab.locator("#snapshots tbody tr").first).to_be_visible()


def test_screen_readers_find_no_fault_and_nothing_leaves_a_narrow_screen(visit, reader):
    tab, requests = visit(reader)
    tab.set_viewport_size({"width": 360, "height": 640})
    faults, wide = {}, {}
    for view in VIEWS:
        fill_view(tab, view)
        assert tab.title().startswith("NB-CLIP: ")
        assert tab.locator("#views a[aria-current='page']").get_attribute("href") == f"#{view}"
        found = Axe().run(tab).response["violations"]
        tab.emulate_media(color_scheme="dark")
        found += Axe().run(tab, options={"runOnly": ["color-contrast"]}).response["violations"]
        tab.emulate_media(color_scheme="light")
        faults |= {(view, each["id"]): [node["html"][:160] for node in each["nodes"][:3]] for each in found}
        wide[view] = tab.evaluate("document.documentElement.scrollWidth")
    assert faults == {}
    assert set(wide.values()) == {360}, wide
    assert {urlsplit(request.url).netloc for request in requests} == {"localhost"}


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_asks_for_a_key_and_works_with_it(visit, service, data, view):
    secret = add_key(data / "keys.json", "viewer", ["read", "ingest"] if view == "jobs" else ["read"])
    tab, _ = visit(service(), f"/ui#{view}{'/effusion' if view in ('captions', 'search') else ''}")
    key = tab.get_by_label("Key of this service")
    expect(key).to_be_focused()
    key.fill(secret)
    key.press("Enter")
    expect(key).to_be_hidden()
    told = {
        "captions": "#facts",
        "search": "#found-images tbody tr",
        "targets": "#variant option",
        "doubts": "#status",
        "jobs": "#snapshots tbody tr",
    }
    expect(tab.locator(told[view]).first).to_be_attached()
    expect(tab.locator(f"#{view}-view .failed")).to_have_count(0)
    expect(tab.locator("#status")).not_to_have_class(re.compile("error"))
