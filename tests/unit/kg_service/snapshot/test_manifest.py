"""A snapshot is named by the bytes of its manifest; later versions may say more in it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.manifest import decoded, encoded, id_of, on_the_wire
from kg_service.snapshot.publication import publish
from nbclip.errors import BrokenArtefact
from support.small_graphs import GraphOnly, graph_of

OF_0_1_0 = (
    b'{"appended":{"base":"' + b"a" * 64 + b'","earlier":["' + b"b" * 64 + b'"],"images":3,"own":1},"attributes":5,"concepts":4,'
    b'"dataset":null,"files":[{"bytes":160,"name":"images.id_bytes.npy","sha256":"' + b"c" * 64 + b'"}],"format":2,"images":7,'
    b'"images_with_knowledge":6,"is_a_edges":2,"linkers":["dictionary-1"],"split":"train","variants":{"hybrid/dk":'
    b'{"ancestors":false,"images":4,"method":"hybrid","smoothing":0.6}},"versions":{"numpy":"1.26.4"},"vocabulary":'
    b'{"release":"2025AB \\u00fc"}}'
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "manifest.json"


@pytest.fixture
def folder(tmp_path):
    graph = graph_of([[0, 1], [1], [0, 2]])
    publish(GraphOnly(graph), tmp_path, vocabulary={}, representations={"hybrid": Hybrid(smoothing=0, hub_share=1.0)})
    return SnapshotFolder(tmp_path)


def test_what_version_0_1_0_wrote_is_read_and_written_the_same(path):
    path.write_bytes(OF_0_1_0)
    manifest = decoded(path, id_of(OF_0_1_0))
    assert encoded(manifest) == OF_0_1_0
    whole = {name: value for name, value in json.loads(OF_0_1_0).items() if name != "appended"}
    path.write_bytes(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode())
    assert encoded(decoded(path, id_of(path.read_bytes()))) == path.read_bytes()


def test_what_answers_say_is_what_is_on_disk(path):
    path.write_bytes(OF_0_1_0)
    answer = on_the_wire(decoded(path, id_of(OF_0_1_0)))
    later = {"is_a": None, "relation_edges": {}, "relations": None, "rarest_concepts": None}
    assert json.loads(answer.model_dump_json()) == json.loads(OF_0_1_0) | later


def test_the_id_follows_from_what_answers_say_with_relations_too(tmp_path):
    graph = replace(graph_of([[0, 1], [1], [0, 2]]), relations={"part_of": np.array([[0, 2]], np.int32)})
    published = publish(GraphOnly(graph), tmp_path, vocabulary={}, representations={"hybrid": Hybrid(smoothing=0, hub_share=1.0)})
    said = json.loads(on_the_wire(SnapshotFolder(tmp_path).manifest(published)).model_dump_json())
    assert said["relation_edges"] == {"part_of": 1}
    left_out = {"appended", "is_a", "relation_edges", "relations", "rarest_concepts"}
    canonical = {name: value for name, value in said.items() if value or name not in left_out}
    assert id_of(json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()) == published


def test_a_later_version_may_say_more_in_any_form_and_its_id_is_that_of_the_bytes(folder):
    before = folder.path / folder.current()
    held = json.loads((before / "manifest.json").read_bytes())
    held["files"][0]["compressed"] = False
    content = json.dumps({"more": {"than": "this one"}, **held}, indent=1).encode()
    (before / "manifest.json").write_bytes(content)
    before.rename(folder.path / id_of(content))
    (folder.path / "CURRENT").write_text(id_of(content))
    opened = SnapshotFolder(folder.path).open()
    assert (opened.id, len(opened), opened.manifest.images) == (id_of(content), 3, 3)
    assert on_the_wire(opened.manifest).images == 3


def test_the_same_values_in_other_bytes_are_another_snapshot(path):
    path.write_bytes(json.dumps(json.loads(OF_0_1_0), indent=1).encode())
    with pytest.raises(BrokenArtefact, match="does not have the digest"):
        decoded(path, id_of(OF_0_1_0))


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ({}, ""),
        ({"split": "train"}, " --split train"),
        ({"dataset": "roco", "split": "fold 1"}, " --dataset roco --split 'fold 1'"),
    ],
)
def test_a_damaged_snapshot_names_the_command_for_its_own_part(tmp_path, part, options):
    graph = graph_of([[0, 1], [1], [0, 2]])
    published = publish(GraphOnly(graph), tmp_path, vocabulary={}, **part)
    next((tmp_path / published).glob("hybrid.*")).unlink()
    with pytest.raises(BrokenArtefact) as damaged:
        SnapshotFolder(tmp_path).open(published)
    assert damaged.value.hint.startswith(f"publish anew: kg-service snapshot publish{options}; then")
