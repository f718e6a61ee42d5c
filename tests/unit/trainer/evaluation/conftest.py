import json
import os
import subprocess
import sys

import pytest

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
