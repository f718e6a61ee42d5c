"""A minute of atheris on each target; `make fuzz` installs it."""

import re
import subprocess
from pathlib import Path

import pytest
from fuzz.targets import TARGETS
from support.counts import often

ROOT = Path(__file__).parents[3]
SECONDS = often(5, 60)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_breaks_a_target(target, record_property):
    command = ("make", "fuzz", f"ARGS=--targets {target} --seconds {SECONDS}")
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-4_000:]
    inputs = int(re.search(r"number_of_executed_units: (\d+)", run.stderr)[1])
    assert inputs >= SECONDS, "less than one a second"
    record_property("targets", 1)
    record_property("inputs", inputs)
