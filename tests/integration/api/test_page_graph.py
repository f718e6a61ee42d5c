"""The graph of the page, in a real Chromium: it shows the edges that the service has, and what the keyboard does in it."""

import pytest
from playwright.sync_api import expect

CHEST = "effusion"


def show(tab, image_id):
    tab.evaluate("id => { location.hash = `#captions/${encodeURIComponent(id)}`; }", image_id)
    expect(tab.locator("#facts")).to_contain_text(f"Image {image_id},")
    expect(tab.locator("#graph svg")).to_be_visible()


def edges(tab):
    """From, edge, to and share of each row of the table of the graph."""
    rows = tab.locator("#graph-table tbody tr").all()
    cells = [[cell.strip() for cell in row.locator("td").all_text_contents()] for row in rows]
    return {(source, kind, target): share for source, kind, target, _, share in cells}


def shown(concept):
    return f"{concept['cui']} {concept['name']}".strip()


def expected_edges(reader, image_id, steps):
    """The same graph by another way: each concept's own parents."""
    image = reader.get(f"/images/{image_id}").json()
    found = {(image_id, f"has attribute, {each['assertion']}", shown(each)) for each in image["attributes"]}
    level = {each["cui"] for each in image["attributes"]}
    for _ in range(steps):
        concepts = [reader.get(f"/concepts/{cui}").json() for cui in level]
        found |= {(shown(each), "is_a", shown(parent)) for each in concepts for parent in each["parents"]}
        level = {parent["cui"] for each in concepts for parent in each["parents"]}
    return found


@pytest.mark.parametrize("image_id", [CHEST, "no pneumothorax"])
def test_an_image_is_drawn_with_its_concepts_and_their_ancestors(visit, reader, image_id):
    tab, _ = visit(reader)
    show(tab, image_id)
    for steps in (2, 1, 0):
        tab.get_by_label("Ancestors").select_option(str(steps))
        expected = expected_edges(reader, image_id, steps)
        ends = {end for source, _, target in expected for end in (source, target)}
        expect(tab.locator("#graph .node")).to_have_count(len(ends))
        expect(tab.locator("#graph .edge")).to_have_count(len(expected))
        assert set(edges(tab)) == expected
        assert set(edges(tab).values()) == {""}
    nodes = tab.locator("#graph .node.own").all()
    said = {each["assertion"] for each in reader.get(f"/images/{image_id}").json()["attributes"]}
    assert {kind for node in nodes for kind in node.get_attribute("class").split()} >= said


def test_a_caption_that_is_not_stored_is_drawn_too(visit, reader):
    tab, _ = visit(reader)
    tab.get_by_role("button", name="Link", exact=True).click()
    expect(tab.locator("#graph svg")).to_be_visible()
    (linked,) = reader.post("/link", json={"captions": [tab.get_by_label("Caption").first.input_value()]}).json()["results"]
    own = {shown(each) for each in linked["mentions"]}
    assert {target for source, _, target in edges(tab) if source == "caption"} == own
    tab.get_by_label("Caption").first.fill("zzz")
    tab.get_by_role("button", name="Link", exact=True).click()
    expect(tab.locator("#graph")).to_have_text("There is no concept to draw.")


def test_the_share_of_a_similarity_is_the_width_of_the_edges_that_it_goes_over(visit, reader):
    tab, _ = visit(reader)
    show(tab, CHEST)
    tab.get_by_role("button", name="Why effusion too is similar").click()
    expect(tab.locator("#graph .edge.shares").first).to_be_visible()
    answer = reader.post("/explain", json={"image_id": CHEST, "other_id": "effusion too"}).json()
    found = edges(tab)
    (concept,) = [part for part in answer["contributions"] if part["kind"] == "concept" and part["concept"]["cui"] == "C0032227"]
    through = [
        part["share"] / len(part[side])
        for part in answer["contributions"]
        if part["concept"]
        for side in ("concepts",)
        for each in part[side]
        if each["cui"] == "C0032227"
    ]
    assert found[CHEST, "has attribute, present", shown(concept["concept"])] == f"{sum(through):.3f}"
    assert ("effusion too", "has attribute, present", shown(concept["concept"])) in found
    widths = tab.locator("#graph .edge.shares path").evaluate_all(
        "paths => paths.map((path) => parseFloat(getComputedStyle(path).strokeWidth))"
    )
    shares = [float(share) for share in found.values() if share]
    assert len(widths) == len(shares) > 2
    assert [width for _, width in sorted(zip(shares, widths, strict=True))] == sorted(widths)
    assert tab.locator("#graph .node.both").count() == len(answer["shared"])


def test_the_keyboard_moves_over_the_graph_and_chooses(visit, reader):
    tab, _ = visit(reader)
    show(tab, CHEST)
    assert tab.locator("#graph .node[tabindex='0']").count() == 1
    tab.locator("#graph .node[tabindex='0']").focus()
    focused = "document.activeElement.getAttribute('aria-label')"
    assert tab.evaluate(focused) == f"Image {CHEST}"
    tab.keyboard.press("ArrowRight")
    label = tab.evaluate(focused)
    assert label.endswith(", present")
    tab.keyboard.press("Enter")
    expect(tab.locator("#graph-node")).to_contain_text(label.split(" ", 1)[0])
    assert tab.locator("#graph .node[aria-pressed='true']").get_attribute("aria-label") == label
    assert 0 < tab.locator("#graph .edge.near").count() < tab.locator("#graph .edge").count()
    tab.keyboard.press("ArrowLeft")
    assert tab.evaluate(focused) == f"Image {CHEST}"
    assert tab.locator("#graph .node[tabindex='0']").count() == 1
