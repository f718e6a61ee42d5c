from pathlib import Path

from support.sharing import LONGEST_FIRST, ByFile

ROOT = Path(__file__).parents[2]


class Node:
    """A process of tests, for the scheduler; it notes which it gets."""

    id, shutting_down = "one", False

    def __init__(self):
        self.gateway, self.got = self, []

    def send_runtest_some(self, indices):
        self.got += indices

    def shutdown(self):
        self.shutting_down = True


def shared(pytestconfig, monkeypatch, tests):
    """The tests that one process gets, in order, as it ends one after the other."""
    monkeypatch.setattr(pytestconfig.option, "tx", ["popen"])
    sharing, node = ByFile(pytestconfig), Node()
    sharing.add_node(node)
    sharing.add_node_collection(node, tests)
    sharing.schedule()
    for index in node.got:
        sharing.mark_test_complete(node, index)
    return [tests[index] for index in node.got]


def test_long_files_are_begun_first_and_then_those_of_many_tests(pytestconfig, monkeypatch):
    few, many = "tests/a.py::0", [f"tests/b.py::{number}" for number in range(9)]
    longest, long = (f"{file}::0" for file in LONGEST_FIRST[2:4])
    assert shared(pytestconfig, monkeypatch, [few, *many, long, longest]) == [longest, long, *many, few]


def test_all_tests_of_the_one_database_stay_together(pytestconfig, monkeypatch):
    here, there, other = "tests/contract/test_a.py::0", "tests/integration/neo4j/test_b.py::0", f"{LONGEST_FIRST[2]}::0"
    assert shared(pytestconfig, monkeypatch, [other, here, there]) == [here, there, other]


def test_long_files_are_files():
    assert [file for file in LONGEST_FIRST if file != "neo4j" and not (ROOT / file).is_file()] == []
