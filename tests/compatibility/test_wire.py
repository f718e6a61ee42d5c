"""A client of a former version, which sends what it sent then: today's service answers all that it was answered."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from compatibility.ages import restore_ages
from compatibility.likeness import differences, tensor_differences
from compatibility.machine import computes_alike
from support.service import Service
from support.waiting import eventually

GROUPS = ("full", "empty", "locked")


@pytest.fixture(scope="module")
def replayed(recorded, tmp_path_factory):
    """By group and name of each request: the path without its ending, what was recorded, and today's answer."""
    folder = tmp_path_factory.mktemp("wire")
    shutil.copytree(recorded / "data", folder / "full")
    shutil.copytree(recorded / "data", folder / "locked", ignore=shutil.ignore_patterns("jobs"))
    for group in ("full", "locked"):
        restore_ages(recorded, folder / group)
    shutil.copytree(recorded / "keys", folder / "keys")
    settings = json.loads((recorded / "wire" / "settings.json").read_text())
    # Snapshots that are published anew have the representation of then.
    of_then = {"KG_HYBRID_SMOOTHING": "0.6", "KG_HYBRID_SMOOTHING_DIMENSION": "64", "KG_HYBRID_SMOOTHING_FREQUENCY": "0"}
    more = {"locked": {"KG_KEYS_FILE": str(folder / "keys" / "keys.json")}}

    def answers(group):
        with closing(Service(folder / group, settings | of_then | more.get(group, {}))) as service:
            return dict(replay(service.client, recorded / "wire" / group))

    with ThreadPoolExecutor(len(GROUPS)) as at_once:
        return dict(zip(GROUPS, at_once.map(answers, GROUPS), strict=True))


def replay(client, folder):
    new_ids = {}
    for path in sorted(folder.glob("*.json")):
        recorded, name = json.loads(path.read_text()), path.stem.partition("-")[2]
        request = recorded["request"]
        answer = sent(client, {**request, "path": request["path"].format_map(new_ids)})
        if answer.status_code == 202:
            new_ids[name] = answer.json()["id"]
        yield name, (path, recorded["answer"], answer)


def sent(client, request):
    body = {"json": request["json"]} if "json" in request else {"content": request.get("text", "").encode()}

    def ask():
        return client.request(request["method"], request["path"], headers=request["headers"], **body)

    if "until" in request:
        eventually(lambda: ask().json()["state"] == request["until"], within_s=60)
    return ask()


@pytest.mark.parametrize("group", GROUPS)
def test_every_field_of_a_former_answer_is_answered_with_its_value(replayed, group):
    now_called = names_given(replayed[group].values())
    unlike = {
        path.stem: list(unlike_in(path, renamed(before, now_called), answer)) for path, before, answer in replayed[group].values()
    }
    assert {name: found for name, found in unlike.items() if found} == {}


def names_given(answers):
    """Former id to today's, of jobs and snapshots that the requests made: an id is the service's to give."""
    made = [(before, answer) for _, before, answer in answers if before["status"] == answer.status_code in (201, 202)]
    return {before["json"]["id"]: answer.json()["id"] for before, answer in made}


def renamed(before, now_called):
    text = json.dumps(before)
    for former, today in now_called.items():
        text = text.replace(former, today)
    return json.loads(text)


def unlike_in(path, before, answer):
    if answer.status_code != before["status"]:
        yield f"{answer.status_code} instead of {before['status']}: {answer.text:.300}"
        return
    yield from headers_unlike(before["headers"], answer.headers)
    if "json" in before:
        body = computed_left_out(before["json"]) if before["status"] == 201 else before["json"]
        yield from differences(body, answer.json())
    if "metrics" in before:
        yield from (f"no {metric}" for metric in before["metrics"] if f"# TYPE {metric}\n" not in answer.text)
    if (tensors := path.with_suffix(".safetensors")).exists():
        yield from tensor_differences(tensors.read_bytes(), answer.content)


def headers_unlike(before, now):
    """Lists must have what they had; a tag or a policy is the service's to choose, but must be there."""
    for name, value in before.items():
        if name not in now:
            # A type of no content says nothing.
            yield from [] if (name, now.get("content-length", "0")) == ("content-type", "0") else [f"no {name}"]
        elif name in ("vary", "allow"):
            yield from (f"{name} without {part}" for part in value.split(", ") if part not in now[name].split(", "))
        elif name in ("content-type", "location", "www-authenticate") and now[name] != value:
            yield f"{name}: {now[name]} instead of {value}"


def computed_left_out(body):
    """Of a snapshot that was made for the answer: the last bits of numbers are the machine's, and so are digests of files."""
    files = [{"name": file["name"]} for file in body["manifest"]["files"]]
    return {**body, "manifest": {**body["manifest"], "files": files}}


@pytest.mark.parametrize("name", ["append", "publish"])
def test_the_same_content_has_the_id_that_it_had(replayed, recorded, name):
    _, before, answer = replayed["full"][name]
    versions = before["json"]["manifest"]["versions"], answer.json()["manifest"]["versions"]
    if versions[0] == versions[1] and computes_alike(recorded, *versions):
        assert answer.json()["id"] == before["json"]["id"]


def test_a_job_that_waited_is_done_by_the_service_that_starts(replayed):
    _, before, answer = replayed["full"]["waiting-job-ends"]
    assert answer.json()["state"] == before["json"]["state"] == "done"
    assert answer.json()["counts"] == {"created": 2}


def test_former_jobs_are_listed_with_their_states(replayed, recorded):
    ids = json.loads((recorded / "expected" / "jobs.json").read_text())
    states = {job["id"]: job["state"] for job in replayed["full"]["jobs"][2].json()["jobs"]}
    assert {name: states[job] for name, job in ids.items()} == {**{name: name for name in ids}, "waiting": "done"}
