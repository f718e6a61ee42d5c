"""For every test: one that does not run is a failure, never a green skip."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["support.browser", "support.neo4j.fixtures"]

USES_NEO4J = re.compile(r"tests/(contract|integration/neo4j|support/neo4j)/|test_copy_and_export")

# Other work on the machine makes a test slow, and says nothing of it.
settings.register_profile("no deadlines", deadline=None)
settings.load_profile("no deadlines")


class _ByFile(LoadFileScheduling):
    """A file's tests stay in one process, and so do all tests of the one Neo4j database."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return "neo4j" if USES_NEO4J.search(file) else file


def pytest_xdist_make_scheduler(config, log):
    """How several processes share the tests out."""
    return _ByFile(config, log)


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
