"""For every test: one that does not run is a failure, never a green skip."""

from __future__ import annotations

import pytest

pytest_plugins = ["support.neo4j.fixtures"]


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
