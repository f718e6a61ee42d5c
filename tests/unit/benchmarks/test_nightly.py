"""What the nightly run makes of a report of pytest: figures, failures, what is too little."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks" / "reliability"
ROOT = FOLDER.parents[1]
results = SimpleNamespace(**runpy.run_path(str(FOLDER / "results.py"), run_name="results"))
rows = SimpleNamespace(**runpy.run_path(str(FOLDER / "rows.py"), run_name="rows")).ROWS

REPORT = """<testsuites><testsuite>
<testcase name="one"><properties>
  <property name="kills" value="30"/><property name="longest start, s" value="2.5"/>
  <property name="longest start, s" value="4.25"/>
</properties></testcase>
<testcase name="two"><properties><property name="kills" value="1020"/></properties></testcase>
<testcase name="three"><properties><property name="damaged csv rows" value="7"/></properties></testcase>
<testcase name="four"><properties><property name="damaged csv rows" value="5"/></properties>{trouble}</testcase>
</testsuite></testsuites>"""


@pytest.fixture
def report(tmp_path):
    def write(trouble=""):
        path = tmp_path / "report.xml"
        path.write_text(REPORT.format(trouble=trouble))
        return path

    return write


def test_counts_are_added_the_longest_is_the_longest_and_damage_is_that_of_one_file(report):
    properties, failed = results.read_properties(report())
    assert properties == {"tests": 4, "kills": 1_050, "longest start, s": 4.25, "damaged csv rows": 5}
    assert failed == []
    assert results.figure_of(properties) == "4 tests, 1,050 kills, 5 damaged csv rows, longest start 4.25 s"


@pytest.mark.parametrize("trouble", ["<failure/>", "<error/>"])
def test_what_failed_is_named(report, trouble):
    assert results.read_properties(report(trouble))[1] == ["four"]


def test_too_little_is_no_pass():
    assert results.too_few({"kills": 50, "tests": 1}, {"kills": 50}) == []
    assert results.too_few({"kills": 49}, {"kills": 50, "cases": 1}) == ["49 kills", "0 cases"]


def test_the_limit_of_many_like_counts_is_said_once():
    assert results.limit_of({"kills": 50, "cases": 2_000}) == "≥ 50 kills, ≥ 2,000 cases"
    assert results.limit_of({f"damaged {form} rows": 5_000 for form in "abc"}) == "≥ 5,000 of each"


def test_a_row_of_the_table_says_what_failed():
    row = results.Result("R3", "killed", "49 kills", "≥ 50 kills", 61, False, ("49 kills",), "2026-01-31")
    assert list(results.table([row]))[2] == "| R3 | killed | 49 kills | ≥ 50 kills | 61 | **no**: 49 kills | 2026-01-31 |"


def test_every_acceptance_row_is_there_and_names_tests_that_are():
    assert [row.name for row in rows] == [f"R{number}" for number in range(1, 18)]
    for row in rows:
        paths = [part for part in row.tests if part.startswith("tests/")]
        assert paths or row.commands
        assert all((ROOT / path).exists() for path in paths), row.name
