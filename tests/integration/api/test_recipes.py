"""Snapshots as a request wants them: representations with parameters, another is_a, served or not."""

import json
from contextlib import closing

import pytest
from kg_service.snapshot import SnapshotFolder
from nbclip.client import Service
from nbclip.errors import Conflict, InvalidInput
from nbclip.schemas.snapshots import PublishRequest
from support.service import Service as RunningService
from support.tcp import free_port
from support.waiting import eventually

SPARSE = {"hybrid": {"smoothing": 0, "decay": 1}, "concepts": {"decay": 0.25}, "noise": {"seed": 7}}
EFFUSION, PNEUMONIA = "C0032227", "C0032285"
OWN = {"edges": [[EFFUSION, "C9999999"], [PNEUMONIA, "C9999999"]]}
PAIR = ["effusion", "pneumonia"]


@pytest.fixture
def publish(client):
    def ask(**wanted):
        answer = client.post("/snapshots", json=wanted)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return ask


def similarity(client, snapshot, **wanted):
    body = {"image_ids": PAIR, "snapshot": snapshot, "output": "similarity", **wanted}
    answer = client.post("/v1/targets", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["values"][0][1]


def test_representations_have_the_parameters_of_the_request_and_the_rest_from_the_settings(service):
    client = service(hybrid_hub_share=0.9, noise_dimension=8)
    made = client.post("/snapshots", json={"representations": SPARSE}).json()
    cards = made["manifest"]["variants"]
    assert set(cards) == {"hybrid/dk", "hybrid/dk_ek", "concepts/dk", "concepts/dk_ek", "noise/noise"}
    assert (cards["hybrid/dk_ek"]["decay"], cards["concepts/dk_ek"]["decay"]) == (1, 0.25)
    assert (cards["hybrid/dk"]["smoothing"], cards["hybrid/dk"]["hub_share"]) == (0, 0.9)
    assert (cards["noise/noise"]["seed"], cards["noise/noise"]["dimension"]) == (7, 8)


def test_it_is_what_the_settings_give_whichever_way_they_are_set(service, publish, command, data, vocabulary_folder):
    asked = publish(representations={"hybrid": {"smoothing": 0, "decay": 0.75}}, is_a={"shuffled": 5})
    by_settings = service(hybrid_smoothing=0, hybrid_decay="0.75").post("/snapshots", json={"is_a": {"shuffled": 5}}).json()
    publishing = ("snapshot", "publish", "--data", data, "--vocabulary", vocabulary_folder, "--not-current")
    status, out, err = command(*publishing, "--shuffle-is-a", 5, "--set", "hybrid.smoothing=0", "--set", "hybrid.decay=.75")
    assert (status, out.strip(), by_settings["id"]) == (0, asked["id"], asked["id"])
    assert "is_a (shuffled by seed 5)" in err
    assert publish(representations={"hybrid": {"smoothing": 0.5}})["id"] != asked["id"]


REFUSED = [
    ({"representations": {"sack": {}}}, "no representation is called 'sack'", "hybrid, concepts, transe, both"),
    ({"representations": {"hybrid": {"decoy": 1}}}, "hybrid has no parameter 'decoy'", "decay, ancestor_weight"),
    ({"representations": {"hybrid": {"ancestors": False}}}, "hybrid has no parameter 'ancestors'", "decay"),
    ({"representations": {"concepts": {"decay": 2}}}, "hybrid.decay=2: Input should be less than or equal to 1", "settings"),
    ({"representations": {"noise": {"seed": "many"}}}, "noise.seed='many'", "settings"),
]
INVALID = [
    {"representations": {}},
    {"representations": ["hybrid"]},
    {"representations": {"hybrid": {"decay": [1]}}},
    {"is_a": {"shuffled": -1}},
    {"is_a": {"shuffled": 1, "edges": []}},
    {"is_a": {"edges": [["pneumonia", EFFUSION]]}},
    {"is_a": {"edges": [[EFFUSION, PNEUMONIA], [PNEUMONIA, EFFUSION]]}},
    {"relations": {"shuffled": -1}},
    {"relations": {"edges": []}},
    {"concepts": {"rarest": 0}},
    {"concepts": {"rarest": 2, "commonest": 1}},
    {"append": True, "current": False},
    {"append": True, "concepts": {"rarest": 2}},
    {"append": True, "representations": {"hybrid": {}}},
]


@pytest.mark.parametrize(("wanted", "detail", "hint"), REFUSED)
@pytest.mark.parametrize("path", ["/snapshots", "/v1/snapshots"])
def test_what_is_not_known_is_refused_before_there_is_a_job_with_what_there_is(client, problem, path, wanted, detail, hint):
    body = problem(client.post(path, json=wanted), 422, "invalid-input")
    assert detail in body["detail"]
    assert hint in body["hint"]
    assert client.get("/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize("wanted", INVALID, ids=json.dumps)
def test_what_has_no_sense_is_refused(client, problem, wanted):
    body = problem(client.post("/v1/snapshots", json=wanted), 422, "invalid-input")
    assert body["errors"]


def test_an_own_is_a_takes_the_place_of_the_graphs_and_says_so(client, publish, problem):
    no_hubs = {"hybrid": {"hub_share": 1}}
    bare = publish(is_a={"edges": []}, representations=no_hubs)
    made = publish(is_a=OWN, representations=no_hubs)
    assert (made["manifest"]["is_a"], made["manifest"]["is_a_edges"]) == ({"kind": "own", "seed": None}, 2)
    assert bare["manifest"]["is_a_edges"] == 0
    without = similarity(client, bare["id"])
    for snapshot in (bare, made):
        assert similarity(client, snapshot["id"], knowledge="dk") == pytest.approx(without, abs=1e-6)
    assert similarity(client, made["id"]) > without + 0.01
    told = client.post("/v1/explain", json={"image_id": "effusion", "other_id": "pneumonia"}).json()
    assert "C9999999" in {each["concept"]["cui"] for each in told["contributions"] if each["kind"] == "ancestor"}
    assert "is_a that a request brought" in " ".join(told["notes"])
    turned = {"edges": [edge[::-1] for edge in OWN["edges"]]}
    assert "none of the 2 is_a edges" in problem(client.post("/snapshots", json={"is_a": turned}), 422, "invalid-input")["detail"]


def test_thin_captions_are_asked_for_alike_in_a_request_and_by_the_command(client, publish, command, data, vocabulary_folder):
    made = publish(concepts={"rarest": 1}, current=False)
    assert made["manifest"]["rarest_concepts"] == 1
    counts = {each: made["manifest"][each] for each in ("attributes", "images_with_knowledge")}
    assert counts["attributes"] == counts["images_with_knowledge"]
    where = ("--data", data, "--vocabulary", vocabulary_folder)
    status, out, err = command("snapshot", "publish", *where, "--rarest-concepts", 1, "--not-current")
    assert (status, out.strip()) == (0, made["id"])
    assert err.strip().endswith("rarest concepts of each image: 1")
    (line,) = (line for line in command("snapshot", "list", "--data", data)[1].splitlines() if line.startswith(made["id"]))
    assert line.endswith("aside, rarest concepts of each image: 1")


def test_without_typed_relations_there_are_none_to_shuffle(client, problem, command, data, vocabulary_folder):
    body = problem(client.post("/snapshots", json={"relations": {"shuffled": 1}}), 409, "conflict")
    assert "no typed relations to shuffle" in body["detail"]
    where = ("--data", data, "--vocabulary", vocabulary_folder)
    status, _, err = command("snapshot", "publish", *where, "--shuffle-relations", 1)
    assert status != 0
    assert "no typed relations to shuffle" in err


def test_one_that_is_not_current_is_served_to_who_names_it(client, publish):
    before = client.get("/v1/info").json()["snapshot"]
    made = publish(is_a=OWN, representations=SPARSE, current=False)
    assert (made["current"], client.get("/v1/info").json()["snapshot"]) == (False, before)
    assert similarity(client, made["id"]) != similarity(client, before)
    body = {"image_ids": PAIR, "snapshot": made["id"], "representation": "concepts"}
    assert client.post("/v1/representations", json=body).status_code == 200
    assert client.get(f"/v1/snapshots/{made['id']}/embeddings", params={"representation": "concepts"}).status_code == 200
    listed = client.get("/v1/snapshots").json()["snapshots"]
    assert [each["id"] for each in listed if each["current"]] == [before]
    assert {each["id"] for each in listed} == {before, made["id"]}


def test_the_command_takes_a_file_and_lists_and_prunes_what_is_aside(client, publish, command, data, vocabulary_folder, tmp_path):
    made, file = publish(is_a=OWN, current=False), tmp_path / "is_a.tsv"
    file.write_text("parent\tchild\n" + "".join(f"{parent}\t{child}\n" for child, parent in OWN["edges"]))
    where = ("--data", data, "--vocabulary", vocabulary_folder)
    status, out, err = command("snapshot", "publish", *where, "--is-a", file, "--not-current")
    assert (status, out.strip()) == (0, made["id"])
    assert "2 is_a (of an own file)" in err
    (line,) = (line for line in command("snapshot", "list", "--data", data)[1].splitlines() if line.startswith(made["id"]))
    assert line.endswith("aside (of an own file)")
    assert command("snapshot", "prune", "--keep", 0, "--data", data)[1] == ""
    assert command("snapshot", "prune", "--keep", 0, "--not-current", "--data", data)[1].strip() == made["id"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n", "is_a.csv:1: no column child"),
        (f"child,parent\n{EFFUSION}\n", "is_a.csv:2: not a CUI: ''"),
        (f"child,parent\n{EFFUSION},pleura\n", "is_a.csv:2: not a CUI: 'pleura'"),
        (f"child,parent\n{EFFUSION},{EFFUSION}\n", "is_a has a cycle"),
        ("child,parent\n\udcff", "is_a.csv: 'utf-8' codec can't decode"),
        (None, "is_a.csv: No such file"),
    ],
)
def test_a_file_that_is_no_hierarchy_is_refused_in_one_line(command, data, vocabulary_folder, tmp_path, content, said):
    file = tmp_path / "is_a.csv"
    if content is not None:
        file.write_bytes(content.encode(errors="surrogateescape"))
    status, out, err = command("snapshot", "publish", "--data", data, "--vocabulary", vocabulary_folder, "--is-a", file)
    assert (status, out) == (2, "")
    assert said in err.replace("\n", "")


def test_a_client_publishes_and_waits(data, vocabulary_folder):
    with closing(RunningService(data, {"KG_VOCABULARY": str(vocabulary_folder)}, port=free_port())) as running:
        with Service(running.url) as service:
            told, before = [], service.snapshot.id
            wanted = PublishRequest(representations={"hybrid": {"smoothing": 0.0}}, is_a={"shuffled": 1}, current=False)
            made = service.publish(wanted, lambda job: told.append((job.state, job.fraction)))
            assert told[-1] == ("done", 1.0)
            assert (made.current, made.manifest.is_a.seed, service.snapshot.id) == (False, 1, before)
            assert service.publish(wanted).id == made.id
            with Service(running.url, snapshot=made.id) as pinned:
                assert pinned.targets(PAIR).metadata["snapshot"] == made.id
            with pytest.raises(InvalidInput, match="no parameter"):
                service.publish(PublishRequest(representations={"hybrid": {"decoy": 1}}))
            with pytest.raises(Conflict, match="the publication is failed: the graph holds no image of split 'nowhere'"):
                service.publish(PublishRequest(split="nowhere"))
            assert service.publish(PublishRequest(append=True)).id == before
        eventually(lambda: SnapshotFolder(data / "snapshots").current() == before, 5)
