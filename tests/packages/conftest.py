"""An environment that has the built packages and no more."""

from __future__ import annotations

import shutil

import pytest
from support.packages import ROOT, build, install


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """The folder of its commands."""
    folder = tmp_path_factory.mktemp("installed")
    build(ROOT, folder / "wheels", "--wheel")
    yield install(folder / "wheels", folder / "environment")
    shutil.rmtree(folder / "environment")


@pytest.fixture
def outside(commands, tmp_path):
    """The variables of a user who has never seen a checkout."""
    return {"PATH": f"{commands}:/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
