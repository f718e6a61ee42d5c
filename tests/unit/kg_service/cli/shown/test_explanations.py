"""Explanations as the command prints them, of a snapshot with typed relations."""

from dataclasses import replace

import numpy as np
from kg_service.cli.shown.explanations import explanation_lines
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder, explain
from kg_service.snapshot.publication import publish
from rich.console import Console
from support.small_graphs import GraphOnly, graph_of

NAMES = {"C0000000": "Pneumonia", "C0000001": "Pleurisy", "C0000002": "Lung", "C0000003": "Thorax", "C0000004": "Pleura [x]"}
SITES = [(0, 2), (1, 4)]
PARTS = [(2, 3), (4, 3)]


def printed(tmp_path, **relations):
    typed = {name: np.array(edges, np.int32) for name, edges in relations.items()}
    graph = replace(graph_of([[0], [1]], count=5), relations=typed)
    publish(GraphOnly(graph), tmp_path, vocabulary={}, representations={"hybrid": Hybrid(hub_share=1.0)})
    answer = explain(SnapshotFolder(tmp_path).open(), "i0", "i1", name_of=NAMES.__getitem__)
    console = Console(record=True, width=200, highlight=False)
    for line in explanation_lines(answer):
        console.print(line, markup=False)
    return console.export_text()


def test_typed_relations_by_which_two_images_meet_are_named(tmp_path):
    text = printed(tmp_path, has_finding_site=SITES, part_of=PARTS)
    assert "relations by which they meet" in text
    assert "C0000000 Pneumonia —has_finding_site→ C0000002 Lung" in text
    assert "C0000001 Pleurisy —has_finding_site→ C0000004 Pleura [x]" in text
    assert "C0000002 Lung —part_of→ C0000003 Thorax" in text


def test_without_them_nothing_is_said_of_them(tmp_path):
    assert "relations by which" not in printed(tmp_path, has_finding_site=SITES)
