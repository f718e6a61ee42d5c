"""The scripts for Neo4j Browser on a real server and a part of the example data, against the store and the vocabulary.

Another way to each answer is Python over `store.images()` and `Vocabulary.parents`.
"""

import io
import math
import re
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from zipfile import ZipFile

import neo4j
import pytest
from kg_service.api.application import create_app
from kg_service.config import Settings
from kg_service.graph import open_store
from kg_service.ingest.pipeline import ingest_items
from kg_service.ingest.readers import ReadOptions, read_items
from kg_service.linking.builder import build_linker
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from kg_service.web.browser import guide, saved_scripts, scripts, style
from nbclip.files.reading import Rows
from nbclip.schemas.images import ImageItem
from starlette.testclient import TestClient
from support.neo4j.database import wipe

EXAMPLES = Path(__file__).parents[3] / "examples"
NEGATED = ImageItem(image_id="negated", caption="No pneumothorax.")
UNLINKED = {"RM_00394", "RM_01358", "RM_01477", "RM_01865", NEGATED.image_id}
SCRIPTS = {script.name.removesuffix(".cypher"): script for script in scripts()}
QUERIES = [name for name in SCRIPTS if name != "00_parameters"]
PARAMETER = re.compile(r"^:param (\w+) => (.+);$", re.MULTILINE)
MANY = 100_000


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary") / "compiled"
    build_vocabulary(EXAMPLES / "vocabulary", folder)
    return open_vocabulary(folder)


@pytest.fixture(scope="module")
def images(neo4j_server, vocabulary, tmp_path_factory):
    """The first 278 captions of both example sets and four more, in Neo4j; as the store gives them back, by id."""
    wipe(neo4j_server)
    store = open_store(
        neo4j_server.uri, user=neo4j_server.user, password=neo4j_server.password, mirror=tmp_path_factory.mktemp("mirror")
    )
    with closing(store):
        ingest_items(example_items(), store, build_linker("dictionary", vocabulary), vocabulary, "reject")
        return {image.image_id: image for image in store.images(limit=MANY)}


@pytest.fixture(scope="module")
def driver(neo4j_server, images):
    with neo4j_server.driver() as driver:
        yield driver


@pytest.fixture(scope="module")
def parameters(driver):
    """What the script 00 sets, each evaluated by the server as Neo4j Browser does it."""
    values = PARAMETER.findall(SCRIPTS["00_parameters"].body)
    return {name: driver.execute_query(f"RETURN {value}").records[0][0] for name, value in values}


@pytest.fixture(scope="module")
def run(driver, parameters):
    """Runs a script's query in a session that may only read; its rows as dictionaries."""

    def run(name, **changes):
        with driver.session(default_access_mode=neo4j.READ_ACCESS) as session:
            return list(session.run(SCRIPTS[name].body, parameters | changes))

    return run


@pytest.fixture(scope="module")
def present(images):
    """CUIs of each image's present attributes."""
    return {
        image_id: {edge.cui for edge in image.attributes if edge.assertion == "present"} for image_id, image in images.items()
    }


@pytest.fixture(scope="module")
def above(vocabulary):
    """Concepts with everything above them, from the vocabulary's parents."""

    def above(cuis):
        found, new = set(), set(cuis)
        while new:
            found |= new
            new = {parent for cui in new for parent in vocabulary.parents(cui)} - found
        return found

    return above


def example_items():
    rows = []
    for folder in ("radiology-open", "rocov2"):
        options = ReadOptions(relink=True)
        source = Rows([EXAMPLES / folder / "metadata.csv"], options.layout())
        rows += [row.item for row in read_items(source, options)]
    return [NEGATED, *(item for item in rows if item.image_id < "RM_00400" or item.image_id in UNLINKED)]


def mentions(images, chosen):
    """(image id, CUI, words) of the attributes that are chosen, as the lists of the scripts are ordered."""
    return [
        (image_id, edge.cui, edge.text) for image_id, image in sorted(images.items()) for edge in image.attributes if chosen(edge)
    ]


def rows_of(records):
    return [(record["image_id"], record["cui"], record["words"]) for record in records]


def ids_of(nodes):
    return {node.get("image_id") or node.get("cui") for node in nodes}


def steps_of(records, kind):
    """(start, end) of the relationships of a kind in the paths of an answer."""
    found = {step for record in records for step in record["path"].relationships if step.type == kind}
    return {(*(node.get("image_id") or node.get("cui") for node in step.nodes),) for step in found}


def test_the_graph_holds_what_these_tests_ask_for(images, present):
    assert len(images) == 282
    assert {edge.assertion for image in images.values() for edge in image.attributes} == {"present", "absent", "uncertain"}
    assert {image_id for image_id, cuis in present.items() if not cuis} == UNLINKED
    assert [edge.assertion for edge in images[NEGATED.image_id].attributes] == ["absent"]


@pytest.mark.parametrize("name", QUERIES)
def test_queries_only_read_and_never_enumerate_the_graph(name, driver, parameters):
    with driver.session(default_access_mode=neo4j.READ_ACCESS) as session:
        summary = session.run("EXPLAIN " + SCRIPTS[name].body, parameters).consume()
    assert summary.query_type == "r"
    assert not {"AllNodesScan", "CartesianProduct", "VarLengthExpand(All)"} & set(operators(summary.plan))


def operators(plan):
    yield plan["operatorType"].partition("@")[0]
    for child in plan.get("children", ()):
        yield from operators(child)


def test_the_server_refuses_to_write_in_such_a_session(driver):
    with driver.session(default_access_mode=neo4j.READ_ACCESS) as session, pytest.raises(neo4j.exceptions.ClientError):
        session.run("CREATE (:Image {image_id: 'new'})").consume()


def test_parameters_are_set_explained_and_used(parameters):
    used = {name: set(re.findall(r"\$(\w+)", SCRIPTS[name].body)) for name in QUERIES}
    assert set().union(*used.values()) == parameters.keys()
    assert {name: set(re.findall(r"\$(\w+)", SCRIPTS[name].explanation)) for name in QUERIES} == used


def test_no_query_holds_an_id_of_its_own():
    assert not [name for name in QUERIES if re.search(r"RM_|C\d{7}|dictionary", SCRIPTS[name].body)]


def test_schema(run):
    ((nodes, relationships),) = run("01_schema")
    assert {label for node in nodes for label in node.labels} == {"Image", "Concept", "GraphState"}
    shown = {(next(iter(edge.start_node.labels)), edge.type, next(iter(edge.end_node.labels))) for edge in relationships}
    assert shown == {("Image", "HAS_ATTRIBUTE", "Concept"), ("Concept", "IS_A", "Concept")}


def test_counts(run, images, present, above, vocabulary):
    attributes = [edge for image in images.values() for edge in image.attributes]
    concepts = above({edge.cui for edge in attributes})
    assert {record["what"]: record["number"] for record in run("02_counts")} == {
        "images": len(images),
        "concepts": len(concepts),
        "mentions of a concept in a caption": len(attributes),
        "is_a": sum(len(vocabulary.parents(cui)) for cui in concepts),
    }


def test_image_by_hand(run):
    """RM_00042: "Acute appendicitis: axial CT scan: gastrointestinal."."""
    nodes = {node for record in run("03_image") for node in record["path"].nodes if "Concept" in node.labels}
    assert {node["cui"]: node["name"] for node in nodes} == {
        "C0003615": "Appendicitis",
        "C0040405": "Tomography, X-Ray Computed",
    }


def test_image_shows_each_mention_of_its_caption(run, images):
    for image_id, image in images.items():
        found = [record["path"].relationships[0] for record in run("03_image", image_id=image_id)]
        shown = [(step.end_node["cui"], step["start"], step["end"], step["text"], step["assertion"]) for step in found]
        assert sorted(shown) == sorted((edge.cui, edge.start, edge.end, edge.text, edge.assertion) for edge in image.attributes)


def test_ancestors_are_the_closure_of_the_vocabulary(run, present, above, vocabulary):
    for image_id, cuis in list(present.items())[::20]:
        answer = run("04_ancestors", image_id=image_id)
        closure = above(cuis)
        assert steps_of(answer, "HAS_ATTRIBUTE") == {(image_id, cui) for cui in cuis}
        assert steps_of(answer, "IS_A") == {(cui, parent) for cui in closure for parent in vocabulary.parents(cui)}
        assert ids_of(node for record in answer for node in record["path"].nodes) - {image_id} == closure


def test_nearest_images_rank_by_the_idf_of_what_is_shared(run, present, images):
    holders = Counter(cui for cuis in present.values() for cui in cuis)
    idf = {cui: math.log((len(present) + 1) / (count + 0.5)) for cui, count in holders.items()}
    for image_id in ("RM_00042", "RM_00001", "RM_00382"):
        mine = present[image_id]
        score = {
            other: sum(idf[cui] for cui in mine & cuis) / sum(idf[cui] for cui in mine)
            for other, cuis in present.items()
            if other != image_id and mine & cuis
        }
        answer = run("05_nearest_images", image_id=image_id, limit=MANY)
        assert {record["image_id"]: record["score"] for record in answer} == pytest.approx(score, abs=0.0005 + 1e-9)
        assert [record["score"] for record in answer] == sorted((record["score"] for record in answer), reverse=True)
        assert len(run("05_nearest_images", image_id=image_id, limit=7)) == 7


def test_nearest_images_pass_over_hubs(run, images):
    """Appendicitis is the one concept of RM_00042 that these captions mention less than 20 times."""
    answer = run("05_nearest_images", most_mentions=20)
    assert {tuple(record["shared"]) for record in answer} == {("Appendicitis",)}
    named = {image_id for image_id, image in images.items() if any(edge.cui == "C0003615" for edge in image.attributes)}
    assert {record["image_id"] for record in answer} == named - {"RM_00042"}


def test_why_alike_by_hand(run):
    """RM_00042 and RM_00234, "Diverticulitis: axial contrast CT scan of the gastrointestinal.": both are gastroenteritis."""
    answer = run("06_why_alike")
    assert {record["path"].end_node["name"] for record in answer} == {
        "Tomography, X-Ray Computed",
        "Gastroenteritis",
    }
    assert {record["mention"].start_node["image_id"] for record in answer} == {"RM_00042", "RM_00234"}


def test_why_alike_ends_where_no_common_ancestor_is_lower(run, present, above, vocabulary):
    for other, cuis in list(present.items())[5::40]:
        common = above(present["RM_00042"]) & above(cuis)
        nearest = common - {parent for cui in common for parent in vocabulary.parents(cui)}
        ways = {
            (image_id, cui, end, steps)
            for image_id in ("RM_00042", other)
            for cui in present[image_id]
            for end, steps in {cui: 0, **{ancestor.cui: ancestor.distance for ancestor in vocabulary.ancestors(cui)}}.items()
            if end in nearest
        }
        assert {way_of(record) for record in run("06_why_alike", other_image_id=other)} == ways


def way_of(record):
    mention, path = record["mention"], record["path"]
    assert mention.end_node == path.start_node
    return mention.start_node["image_id"], path.start_node["cui"], path.end_node["cui"], len(path)


def test_unlinked_captions(run, images, present):
    unlinked = sorted(image_id for image_id, cuis in present.items() if not cuis)
    assert [(record["image_id"], record["caption"]) for record in run("07_unlinked_captions")] == [
        (image_id, images[image_id].caption) for image_id in unlinked
    ]


def test_negated_findings(run, images):
    negated = mentions(images, lambda edge: edge.assertion == "absent")
    assert negated
    assert sorted(rows_of(run("08_negated_findings", limit=MANY))) == sorted(negated)


def test_hubs_are_counted_by_image(run, images, present):
    mentioned = Counter(edge.cui for image in images.values() for edge in image.attributes)
    most = sorted(mentioned, key=lambda cui: (-mentioned[cui], cui))[:25]
    counted = {cui: sum(cui in cuis for cuis in present.values()) for cui in most}
    assert [(record["cui"], record["images"], record["mentions"]) for record in run("09_hubs")] == [
        (cui, counted[cui], mentioned[cui]) for cui in sorted(most, key=lambda cui: (-counted[cui], cui))
    ]


def test_captions_of_a_concept_and_all_below(run, images, above):
    closures = defaultdict(set)
    for image in images.values():
        for edge in image.attributes:
            closures[edge.cui] = closures[edge.cui] or above({edge.cui})
    for cui in ("C1290884", "C0012634", "C0003615"):
        below = Counter(
            (image.image_id, edge.text)
            for image in images.values()
            for edge in image.attributes
            if edge.assertion == "present" and cui in closures[edge.cui]
        )
        assert below
        answer = run("10_captions_below", cui=cui, limit=MANY)
        assert Counter((record["image_id"], record["words"]) for record in answer) == below


def test_provenance(run, images):
    found = mentions(images, lambda edge: edge.rule == "abbreviation")
    assert found
    assert sorted(rows_of(run("11_provenance", limit=MANY))) == sorted(found)
    assert run("11_provenance", linker="another") == []


def test_low_scores(run, images):
    low = mentions(images, lambda edge: edge.score < 0.8)
    assert low
    assert sorted(rows_of(run("12_low_scores", limit=MANY))) == sorted(low)


@pytest.mark.parametrize(
    ("name", "changes"),
    [("07_unlinked_captions", {}), ("08_negated_findings", {}), ("11_provenance", {"rule": "exact"}), ("12_low_scores", {})],
)
def test_lists_go_on_after_an_image(name, changes, run):
    everything = [record.data() for record in run(name, **changes, limit=MANY)]
    first = everything[0]["image_id"]
    rest = [record for record in everything if record["image_id"] > first]
    assert [record.data() for record in run(name, **changes, after=first, limit=MANY)] == rest
    assert [record.data() for record in run(name, **changes, limit=1)] == everything[:1]


def test_the_style_shows_properties_that_the_nodes_have(driver):
    captions = dict(re.findall(r"node\.(\w+) \{[^}]*?caption: '\{(\w+)\}'", style()))
    assert captions.keys() == {"Image", "Concept", "GraphState"}
    for label, shown in captions.items():
        query = f"MATCH (node:{label}) RETURN count(*) > 0 AND all(it IN collect(node.{shown}) WHERE it <> '')"
        assert driver.execute_query(query).records[0][0] is True


def test_the_guide_has_every_script_and_its_own_address():
    slides = guide("http://localhost:8080/neo4j-browser").split("\n---\n")
    assert ":style http://localhost:8080/neo4j-browser/style.grass" in slides[0]
    assert "{address}" not in slides[0]
    for slide, script in zip(slides[1:], scripts(), strict=True):
        assert script.title in slide
        assert f"```cypher\n{script.body}\n```" in slide


def test_saved_scripts_are_the_files_in_one_folder():
    with ZipFile(io.BytesIO(saved_scripts())) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {
            f"NB-CLIP/{script.name}": script.text for script in scripts()
        }
    assert saved_scripts() == saved_scripts()


@pytest.mark.parametrize("path", ["/neo4j-browser/guide.md", "/neo4j-browser/style.grass", "/neo4j-browser/queries.zip"])
def test_another_origin_may_fetch_the_files(path):
    client = TestClient(create_app(Settings()), base_url="http://localhost:8080")
    asked = {"Origin": "http://localhost:7474", "Access-Control-Request-Method": "GET"}
    allowed = client.options(path, headers=asked | {"Access-Control-Request-Headers": "cache-control,pragma"})
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, "*")
    answer = client.get(path, headers={"Origin": "http://localhost:7474"})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")


def test_the_guide_names_the_address_that_it_was_asked_at():
    text = TestClient(create_app(Settings()), base_url="http://localhost:8080").get("/neo4j-browser/guide.md?x=1").text
    assert text == guide("http://localhost:8080/neo4j-browser")
