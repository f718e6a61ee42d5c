import json
import os
import subprocess
import sys

import pytest
from nbclip_trainer.config import TrainConfig
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.evaluation.results import Protocol
from nbclip_trainer.loop import train

ORACLE = """
import json, sys
import ranx
judgements, ranking, metrics = json.load(sys.stdin)
qrels, run = ranx.Qrels(judgements), ranx.Run(ranking)
ranx.evaluate(qrels, run, metrics)
print(json.dumps({metric: dict(run.scores[metric]) for metric in metrics}))
"""


@pytest.fixture(scope="session")
def ranx_scores():
    """metric -> query -> score by ranx, in a process of its own: compiled by numba it would take 20 s to start."""

    def scores(judgements, ranking, metrics):
        answer = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ORACLE],
            input=json.dumps([judgements, ranking, metrics]),
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        )
        return json.loads(answer.stdout)

    return scores


def tiny(metadata, **settings):
    architecture = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1},
    }
    return TrainConfig(
        **{
            "epochs": 2,
            "batch_size": 16,
            "model": {"name": "tiny", "architecture": architecture},
            "data": {"files": [metadata], "pictures": "memory", "workers": 0},
            "augmentation": {"kind": "none"},
            "log": {"every": 1, "diagnostics_every": 1},
            "device": {"name": "cpu", "threads": 1},
            **settings,
        }
    )


PROTOCOL = Protocol(class_ks=(1, 5), cui_ks=(1, 5), minimum_class_size=4, resamples=200)


@pytest.fixture(scope="session")
def runs(metadata, tmp_path_factory):
    """Two trained and evaluated runs: one-hot targets, and noise."""
    folder = tmp_path_factory.mktemp("runs")
    noise = {"targets": {"knowledge": "noise", "noise": "per_image"}, "loss": {"name": "sm"}}
    for name, settings in {"clip": {}, "noise-twin": noise}.items():
        train(tiny(metadata, **settings), folder / name)
        evaluate_run(folder / name, protocol=PROTOCOL)
    return [folder / "clip", folder / "noise-twin"]
