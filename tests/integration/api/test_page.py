"""The inspection page in a real Chromium; its requests are answered by the service in this process, and none may leave it."""

import hashlib
import re
from importlib.resources import files
from urllib.parse import urlsplit

import pytest
from kg_service.app.keys import add_key
from kg_service.web import page
from playwright.sync_api import expect

CAPTION = "🫁 Chest X-ray: pleural effusion, no pneumothorax; pneumonia cannot be excluded."


def link(tab, caption=CAPTION):
    tab.get_by_label("Caption").first.fill(caption)
    tab.get_by_role("button", name="Link", exact=True).click()
    expect(tab.locator("#status")).to_have_text(re.compile(r"mention|concept|\."))


def rows(tab, panel):
    return [[cell.strip() for cell in row.locator("td").all_inner_texts()] for row in tab.locator(f"#{panel} tbody tr").all()]


def test_it_names_no_other_server_and_its_policy_holds_browsers_to_that(reader):
    answer = reader.get("/ui")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy == page.CONTENT_SECURITY_POLICY
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; ")
    assert "unsafe" not in policy
    assert sorted(re.findall(r'(?:src|href)="([^"#]+)"', answer.text)) == ["ui/page.css", "ui/page.js"]
    assert not re.search(r' style="| on[a-z]+="|<script(?! type="module" src=)', answer.text)


@pytest.mark.parametrize("name", page.ASSETS)
def test_what_it_loads_is_there_and_is_not_sent_again(reader, name):
    first = reader.get(f"/ui/{name}")
    assert (first.status_code, first.headers["x-content-type-options"]) == (200, "nosniff")
    assert first.headers["content-type"].partition(";")[0] == page.ASSETS[name]
    imports = set(re.findall(r'^import .*? from "(.+?)";$', first.text, re.MULTILINE))
    assert {f"./{each}" for each in page.ASSETS} >= imports
    if name != "dagre.js":
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\((?!#)", first.text)
    again = reader.get(f"/ui/{name}", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_every_file_of_the_page_is_served(reader):
    there = {file.name for file in (files("kg_service.web") / "ui").iterdir()}
    assert there == {*page.ASSETS, "page.html", "dagre.LICENSE.txt"}
    assert reader.get("/ui/page.html").status_code == 404


def test_the_library_that_lays_graphs_out_is_the_released_one():
    folder = files("kg_service.web") / "ui"
    library = (folder / "dagre.js").read_bytes()
    assert hashlib.sha256(library).hexdigest() == page.DAGRE_SHA256
    assert b'"3.1.3"' in library
    assert "Permission is hereby granted, free of charge" in (folder / "dagre.LICENSE.txt").read_text()


def test_every_field_has_a_label():
    fields = re.findall(r"<(input|textarea|select)\b([^>]*)>", page.page())
    labelled = set(re.findall(r'<label for="([^"]+)"', page.page())) | set(
        re.findall(r'<label class="choice">[^<]*<(?:input|select)[^>]* id="([^"]+)"', page.page())
    )
    assert {re.search(r'id="([^"]+)"', attributes)[1] for _, attributes in fields} == labelled


def test_a_caption_is_shown_with_its_mentions_as_the_service_finds_them(visit, reader):
    tab, requests = visit(reader)
    link(tab)
    expect(tab.locator("#mentions tbody tr").first).to_be_visible()
    (linked,) = reader.post("/link", json={"captions": [CAPTION]}).json()["results"]
    expected = [
        [each["text"], each["cui"], each["name"], each["assertion"], each["rule"], f"{each['score']:.2f}"]
        for each in linked["mentions"]
    ]
    assert rows(tab, "mentions") == expected
    assert {row[3] for row in expected} == {"present", "absent", "uncertain"}
    assert tab.locator("#caption").inner_text() == CAPTION
    for at, mention in enumerate(linked["mentions"]):
        marks = tab.locator("#caption mark").all()
        pieces = [mark.inner_text() for mark in marks if str(at) in mark.get_attribute("data-mentions").split()]
        assert "".join(pieces) == mention["text"]
    assert {urlsplit(request.url).netloc for request in requests} == {"localhost"}


def test_absent_and_uncertain_mentions_differ_by_more_than_colour(visit, reader):
    tab, _ = visit(reader)
    link(tab)
    style = "element => [getComputedStyle(element).textDecorationLine, getComputedStyle(element).fontStyle]"
    styles = [tab.locator(f"#caption mark.{kind}").first.evaluate(style) for kind in ("present", "absent", "uncertain")]
    assert styles == [["none", "normal"], ["line-through", "normal"], ["none", "italic"]]


def test_a_mention_is_chosen_by_click_or_keyboard_and_says_why(visit, reader):
    tab, _ = visit(reader)
    link(tab)
    (linked,) = reader.post("/link", json={"captions": [CAPTION]}).json()["results"]
    at, lost = next((at, each) for at, each in enumerate(linked["mentions"]) if each["candidates"])
    tab.locator(f"#caption mark[data-mentions$='{at}']").first.focus()
    tab.keyboard.press("Enter")
    why = tab.locator("#mention")
    expect(why).to_contain_text(f"({lost['cui']}), {lost['assertion']}; rule {lost['rule']}, score {lost['score']:.2f}")
    assert rows(tab, "mention") == [[each["cui"], each["name"], f"{each['score']:.2f}"] for each in lost["candidates"]]
    last = linked["mentions"][-1]
    tab.locator("#mentions button").last.click()
    expect(why).to_contain_text(last["cui"])
    expect(why).not_to_contain_text(f"({lost['cui']})")


def test_mentions_inside_longer_ones_are_marked_and_both_are_explained(visit, reader):
    tab, _ = visit(reader)
    link(tab, "The left lung.")
    (linked,) = reader.post("/link", json={"captions": ["The left lung."]}).json()["results"]
    texts = [mention["text"] for mention in linked["mentions"]]
    assert texts == ["left lung", "lung"]
    inner = tab.locator("#caption mark.depth2")
    expect(inner).to_have_text("lung")
    inner.click()
    for mention in linked["mentions"]:
        expect(tab.locator("#mention")).to_contain_text(f"({mention['cui']})")


def test_an_image_is_shown_with_what_the_graph_has_of_it(visit, reader):
    tab, _ = visit(reader)
    tab.get_by_label("Image id").fill("no pneumothorax")
    tab.get_by_role("button", name="Show image").click()
    stored = reader.get("/images/no pneumothorax").json()
    expect(tab.locator("#caption")).to_have_text(stored["caption"])
    expect(tab.locator("#facts")).to_contain_text("linked by dictionary-")
    assert {(row[0], row[1], row[3]) for row in rows(tab, "mentions")} == {
        (each["text"], each["cui"], each["assertion"]) for each in stored["attributes"]
    }
    assert {row[0] for row in rows(tab, "concepts")} == {each["cui"] for each in stored["attributes"]}
    tab.get_by_label("Image id").fill("case/7/a.png")
    tab.get_by_role("button", name="Show image").click()
    expect(tab.locator("#caption")).to_have_text("Axial CT of the brain.")
    tab.get_by_label("Image id").fill("none such")
    tab.get_by_role("button", name="Show image").click()
    expect(tab.locator("#status.error")).to_contain_text("no image 'none such'")


def show_image(tab, image_id):
    tab.get_by_label("Image id").fill(image_id)
    tab.get_by_role("button", name="Show image").click()


def test_an_images_neighbours_are_shown_and_lead_on(visit, reader):
    tab, _ = visit(reader)
    show_image(tab, "effusion")
    expect(tab.locator("#neighbours tbody tr").first).to_be_visible()
    near = reader.get("/images/effusion/neighbours").json()["neighbours"]
    assert [row[:2] for row in rows(tab, "neighbours")] == [[each["image_id"], f"{each['similarity']:.3f}"] for each in near]
    for row, each in zip(rows(tab, "neighbours"), near, strict=True):
        assert row[2] == ", ".join(f"{concept['cui']} {concept['name']}" for concept in each["shared"])
    tab.locator("#neighbours").get_by_role("link", name=near[0]["image_id"], exact=True).click()
    expect(tab.locator("#facts")).to_contain_text(f"Image {near[0]['image_id']},")
    show_image(tab, "empty")
    expect(tab.locator("#neighbours")).to_have_text("It has no concept in the snapshot.")


def test_why_two_images_are_similar_is_shown_part_by_part(visit, reader):
    tab, _ = visit(reader)
    show_image(tab, "effusion")
    tab.get_by_role("button", name="Why effusion too is similar").click()
    expect(tab.locator("#explanation tbody tr").first).to_be_visible()
    answer = reader.post("/explain", json={"image_id": "effusion", "other_id": "effusion too"}).json()
    expect(tab.locator("#explanation strong")).to_have_text(f"{answer['similarity']:.3f}")
    sums = " + ".join(f"{share:.3f} by {kind}" for kind, share in answer["parts"].items())
    expect(tab.locator("#explanation p").first).to_contain_text(f" = {sums}. {answer['notes'][0]}")
    found = rows(tab, "explanation")
    parts = len(answer["contributions"])
    assert [float(row[0]) for row in found[:parts]] == [round(part["share"], 3) for part in answer["contributions"]]
    place, met = next((place, part) for place, part in enumerate(answer["contributions"]) if part["kind"] == "concept")
    assert found[place][2].split()[0] == met["concept"]["cui"]
    assert len(found) == parts + len(answer["nearest_common_ancestors"])
    tab.get_by_label("Compare with").fill("nobody")
    tab.get_by_role("button", name="Explain").click()
    expect(tab.locator("#explanation")).to_contain_text("1 images are not in the snapshot: nobody")
    link(tab)
    expect(tab.get_by_label("Compare with")).to_be_hidden()


def test_typed_relations_by_which_two_images_meet_are_shown_by_name(visit, reader):
    answer = reader.post("/explain", json={"image_id": "effusion", "other_id": "pneumonia"}).json()
    edge = {"subject": {"cui": "C0032285", "name": "Pneumonia"}, "relation": "has_finding_site"}
    answer["relations"] = [{**edge, "target": {"cui": "C0024109", "name": "Lung"}}]
    tab, _ = visit(reader)
    tab.route("**/v1/explain", lambda route: route.fulfill(json=answer))
    show_image(tab, "effusion")
    tab.get_by_label("Compare with").fill("pneumonia")
    tab.get_by_role("button", name="Explain").click()
    expect(tab.locator("#explanation table").last).to_contain_text("Relations by which they meet")
    assert rows(tab, "explanation")[-1] == ["C0032285 Pneumonia —has_finding_site→ C0024109 Lung"]


def test_an_image_is_shown_where_there_is_no_snapshot(visit, client, data):
    (data / "snapshots" / "CURRENT").unlink()
    tab, _ = visit(client)
    show_image(tab, "effusion")
    expect(tab.locator("#neighbours")).to_contain_text("no snapshot is published")
    assert rows(tab, "mentions")


def test_markup_in_a_caption_stays_text(visit, reader):
    tab, _ = visit(reader)
    caption = "<img src=x onerror=alert(1)> <b>Pneumonia</b> & <script>x</script>"
    link(tab, caption)
    expect(tab.locator("#caption")).to_have_text(caption)
    assert tab.locator("#caption img, #caption b, #caption script").count() == 0


def test_names_are_hidden_where_the_service_hides_them(visit, service):
    tab, _ = visit(service(show_names=False))
    link(tab)
    expect(tab.locator("#mentions tbody tr").first).to_be_visible()
    assert {row[2] for row in rows(tab, "mentions")} == {""}
    tab.locator("#mentions button").first.click()
    expect(tab.locator("#mention strong")).to_have_text(rows(tab, "mentions")[0][1])


def test_a_key_is_asked_for_sent_and_kept_in_the_tab_alone(visit, service, data):
    secret = add_key(data / "keys.json", "viewer", ["read"])
    tab, requests = visit(service())
    tab.get_by_role("button", name="Link", exact=True).click()
    expect(tab.locator("#status.error")).to_contain_text("no key")
    key = tab.get_by_label("Key of this service")
    expect(key).to_be_focused()
    key.fill(secret)
    key.press("Enter")
    expect(key).to_be_hidden()
    link(tab)
    expect(tab.locator("#mentions tbody tr").first).to_be_visible()
    assert requests[-1].headers["authorization"] == f"Bearer {secret}"
    assert tab.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 1, ""]
    assert not any(secret in request.url for request in requests)
    tab.get_by_role("button", name="Key…").click()
    tab.get_by_role("button", name="Forget it").click()
    assert tab.evaluate("sessionStorage.length") == 0


def test_it_fits_a_narrow_screen(visit, reader):
    tab, _ = visit(reader)
    tab.set_viewport_size({"width": 360, "height": 640})
    link(tab, f"{CAPTION} {'x' * 300}")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
