"""For every test: one that does not run is a failure, never a green skip."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import settings
from support.sharing import ByFile

pytest_plugins = ["support.browser", "support.neo4j.fixtures"]

# The cores are shared out among processes of tests; threads of torch that wait for a core burn another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Other work on the machine makes a test slow, and says nothing of it.
settings.register_profile("no deadlines", deadline=None)
settings.load_profile("no deadlines")


def pytest_xdist_make_scheduler(config, log):
    """How several processes share the tests out."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items):
    """Of tests with one id, several processes would run one."""
    times = Counter(item.nodeid for item in items)
    if twice := [name for name, number in times.items() if number > 1]:
        raise pytest.UsageError(f"{len(twice)} ids are of several tests each, such as {twice[0]} of {times[twice[0]]}")


def _forbid_skip(report, name):
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{name} was skipped ({report.longrepr}); tests run or fail here"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    _forbid_skip(report, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    _forbid_skip(report, collector.nodeid)
    return report
