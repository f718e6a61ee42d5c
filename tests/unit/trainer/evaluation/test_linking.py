import json
import shutil

import polars as pl
import pytest
from nbclip.client import Service
from nbclip.errors import InvalidInput, ServiceAway
from nbclip.schemas.base import MAX_CAPTION_CHARACTERS
from nbclip_trainer.config.saved import read_config
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.evaluation.linking import link_captions
from nbclip_trainer.report.report import write_report
from nbclip_trainer.runs.results import check_comparable, read_scored
from nbclip_trainer.trained.export import model_card

CT, MR, HEAD = "C0000001", "C0000002", "C0000003"


@pytest.fixture
def client(service):
    service.linked = {"CT": (CT, "present"), "MR": (MR, "present"), "head,": (HEAD, "present"), "chest,": (HEAD, "absent")}
    with Service(service.url, give_up_after=0.3) as opened:
        yield opened


def test_present_concepts_count_and_each_caption_is_asked_for_once(service, client):
    found = link_captions(client, ["CT of the head, case", "MR of the chest, case", "CT of the head, case", "nothing"])
    assert found.cuis == ({CT, HEAD}, {MR}, {CT, HEAD}, set())
    assert (found.linker, found.source) == ("test-1", service.url)
    assert service.asked[-1]["captions"] == ["CT of the head, case", "MR of the chest, case", "nothing"]


def test_many_captions_are_asked_for_in_batches(service, client):
    captions = [f"CT {number}" for number in range(600)]
    assert link_captions(client, captions).cuis == (frozenset({CT}),) * 600
    assert [len(body["captions"]) for body in service.asked] == [256, 256, 88]


def test_a_caption_that_is_too_long_and_a_linker_that_changes_are_refused(service, client):
    with pytest.raises(InvalidInput, match="a caption of 20001 characters, and the linker takes 20000: xxx"):
        link_captions(client, ["CT", "x" * (MAX_CAPTION_CHARACTERS + 1)])
    links = service.links

    def changing(captions):
        service.linker = f"test-{len(service.asked)}"
        return links(captions)

    service.links = changing
    with pytest.raises(InvalidInput, match="its linker changed while it was asked: test-1, test-2"):
        link_captions(client, [f"CT {number}" for number in range(300)])


def test_a_service_that_went_away_is_named(service, client):
    service.stop()
    with pytest.raises(ServiceAway):
        link_captions(client, ["CT"])


@pytest.fixture
def linked_runs(runs, client, tmp_path):

    folders = [shutil.copytree(run, tmp_path / run.name) for run in runs]
    protocol = read_scored(runs[0]).evaluation.protocol
    for folder in folders:
        evaluate_run(folder, protocol=protocol, link=lambda captions: link_captions(client, captions))
    return folders


def test_linked_concepts_are_a_task_of_their_own_and_gold_ones_stay_as_they_were(runs, linked_runs, tmp_path):
    before, now = read_scored(runs[0]), read_scored(linked_runs[0])
    evaluation = now.evaluation
    assert (dict(before.names), set(now.names)) == ({}, {cui for cuis in now.images["linked_cui_list"] for cui in cuis})
    # 24 cases of CT, MR and XR in turn, of head and chest in turns of three: XR of the chest has none.
    assert evaluation.linked.model_dump() | {"service": ""} == {
        "linker": "test-1", "service": "", "pictures": 40, "without_concepts": 8,
    }  # fmt: skip
    assert evaluation.cui_pictures == before.evaluation.cui_pictures
    gold = [pl.DataFrame(one.queries.filter(task="cui")) for one in (before, now)]
    assert gold[0].equals(gold[1])
    assert set(before.queries["task"]) | {"cui_linked"} == set(now.queries["task"])
    by_hand = now.queries.filter(task="cui_linked", ranker="chance", direction="image→image", metric="cui_precision@1")
    assert by_hand.height == 40
    with pytest.raises(InvalidInput, match="different data or by different protocols"):
        check_comparable(before, now)
    html = write_report(linked_runs, tmp_path / "report.html").read_text()
    assert "image→image, by linked CUIs (not gold)" in html
    assert "whose concepts test-1 found in their captions" in html
    assert "cui_linked" not in model_card(linked_runs[0], read_config(linked_runs[0]))
    assert json.loads((linked_runs[0] / "evaluation" / "metrics.json").read_text())["linked"]["linker"] == "test-1"
