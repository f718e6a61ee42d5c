"""This repository's TransE beside pykeen's: the same scores, the same loss, and similar filtered hits@10 on a small graph.

    python benchmarks/targets/transe_peer.py [--epochs 200]

pykeen runs in an environment of its own, made once in `~/.cache/nbclip-bench/pykeen`. The graph is pykeen's UMLS semantic
network (135 entities, 46 relations), which the package brings.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
from kg_service.representations.transe import TransE
from kg_service.representations.transe.descent import Drawn, margin_loss
from kg_service.representations.transe.learning import train
from kg_service.representations.weights import unit_rows

_FOLDER = Path.home() / ".cache" / "nbclip-bench" / "pykeen"
_PYKEEN = "pykeen==1.11.1"
_SETTINGS = TransE(dimension=64, margin=5.0, negatives=16, sampling="bernoulli", batch=256, rate=0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    epochs = parser.parse_args().epochs
    os.nice(10)
    with tempfile.TemporaryDirectory() as folder:
        exchange = Path(folder) / "exchange.npz"
        peer = json.loads(_pykeen("train", str(exchange), json.dumps({"epochs": epochs, "margin": 5.0, "negatives": 16})))
        arrays = dict(np.load(exchange))
    theirs = {key: value for key, value in peer.items() if key != "hits"}
    ours = _same_numbers(arrays)
    print("scores and loss on the same vectors and triples:", {**theirs, **ours})
    learned = train(arrays["training"], arrays["entity"].shape[0], arrays["relation"].shape[0], _with_epochs(epochs))
    hits = hits_at_10(unit_rows(learned.entity), unit_rows(learned.relation), arrays["testing"], arrays["every"])
    theirs_by_our_count = hits_at_10(arrays["entity"], arrays["trained_relation"], arrays["testing"], arrays["every"])
    print(f"filtered hits@10 after {epochs} epochs: ours {hits:.3f}, pykeen {peer['hits']:.3f}", end=" ")
    print(f"({theirs_by_our_count:.3f} as counted here)")


def _with_epochs(epochs: int) -> TransE:
    return replace(_SETTINGS, epochs=epochs)


def _same_numbers(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest difference of the scores, and our loss, on pykeen's vectors, triples and corruptions."""
    entity, relation, true, false = (arrays[name] for name in ("entity", "relation", "true", "false"))
    score = -np.abs(entity[true[:, 0]] + relation[true[:, 1]] - entity[true[:, 2]]).sum(axis=1)
    is_head = true[:, 0] != false[:, 0]
    other = np.where(is_head, false[:, 0], false[:, 2])[:, None]
    # Our loss scales relations to unit length too: pykeen's are scaled when this exchange is written.
    loss = margin_loss(entity, relation, Drawn(true, other, is_head), margin=5.0, norm=1).mean(dtype=np.float64)
    return {"largest difference of scores": float(np.abs(score - arrays["scores"]).max()), "our loss": float(loss)}


def hits_at_10(entity_Ed: np.ndarray, relation_Rd: np.ndarray, test_T3: np.ndarray, every_T3: np.ndarray) -> float:
    """Share of heads and tails among the ten nearest when other true triples are left out; ties count by half."""
    known = {tuple(triple) for triple in every_T3.tolist()}
    hits = []
    for head, relation, tail in test_T3.tolist():
        for end in (0, 2):
            place = entity_Ed[tail] - relation_Rd[relation] if end == 0 else entity_Ed[head] + relation_Rd[relation]
            apart = np.abs(entity_Ed - place).sum(axis=1)
            right = head if end == 0 else tail
            for other in range(len(entity_Ed)):
                triple = (other, relation, tail) if end == 0 else (head, relation, other)
                if other != right and triple in known:
                    apart[other] = np.inf
            rank = 1 + (apart < apart[right]).sum() + ((apart == apart[right]).sum() - 1) / 2
            hits.append(rank <= 10)
    return float(np.mean(hits))


def _pykeen(*arguments: str) -> str:
    python = _FOLDER / "venv" / "bin" / "python"
    if not (_FOLDER / "installed").is_file():
        uv = Path(__file__).parents[2] / ".tools" / "uv" / "bin" / "uv"
        command = str(uv) if uv.exists() else "uv"
        pinned = f"torch=={metadata.version('torch').split('+')[0]}"
        subprocess.run([command, "venv", "--clear", "--python", sys.executable, str(_FOLDER / "venv"), "--quiet"], check=True)
        subprocess.run([command, "pip", "install", "--quiet", "--python", str(python), _PYKEEN, pinned], check=True)
        (_FOLDER / "installed").touch()
    worker = Path(__file__).with_name("transe_pykeen.py")
    done = subprocess.run([str(python), str(worker), *arguments], stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    main()
