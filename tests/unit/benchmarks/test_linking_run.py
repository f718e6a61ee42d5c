"""Which linkers `benchmarks/linking/run.py --only` asks."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks" / "linking"


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["nbclip"], ["nbclip", "nbclip_fitted"]),
        (["nbclip_fitted", "medcat"], ["nbclip", "nbclip_fitted", "medcat"]),
        (["quickumls"], ["quickumls"]),
        ([], ["nbclip", "nbclip_fitted", "longest_match", "quickumls", "medcat", "mmlite", "scispacy"]),
    ],
)
def test_linkers_of_the_same_sources_are_asked_together(only, expected):
    code = f"import run; print(*[peer.name for peer in run.asked({only})])"
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected
