"""Which way to a server is gone, by what a machine has."""

import pytest
from support.neo4j import artifacts
from support.neo4j.artifacts import find_java
from support.neo4j.choice import NoServer, Unobtainable, choose
from support.neo4j.ways import CONTAINER, GIVEN, PROCESS, ways_to_any, ways_to_own


def there(found):
    return lambda: found


def missing(reason):
    def find():
        raise Unobtainable(reason)

    return find


def never():
    raise AssertionError("tried after one was found")


@pytest.mark.parametrize(
    ("ways", "way", "shown"),
    [
        ({"a": there(1), "b": never, "c": never}, "a", "a"),
        ({"a": missing("off"), "b": there(2), "c": never}, "b", "b; no a: off"),
        ({"a": missing("off"), "b": missing("old"), "c": there(3)}, "c", "c; no a: off; no b: old"),
    ],
)
def test_the_first_way_that_can_be_gone_is(ways, way, shown):
    choice = choose(ways)
    assert choice.way == way
    assert choice.found == ways[way]()
    assert str(choice) == shown


def test_none_is_one_message_that_names_them_all():
    with pytest.raises(NoServer) as error:
        choose({way: missing(f"why {number}") for number, way in enumerate((GIVEN, CONTAINER, PROCESS))})
    assert str(error.value).splitlines()[1:] == [
        f"  - {way}: why {number}" for number, way in enumerate((GIVEN, CONTAINER, PROCESS))
    ]


def test_what_is_named_in_the_environment_comes_first():
    assert [*ways_to_any({})] == [GIVEN, CONTAINER, PROCESS]
    assert [*ways_to_own({})] == [CONTAINER, PROCESS]
    assert [*ways_to_any({"NEO4J_IMAGE": "neo4j:5-community"})] == [GIVEN, CONTAINER]
    with pytest.raises(Unobtainable, match="not set"):
        ways_to_any({})[GIVEN]()
    assert choose(ways_to_any({"NEO4J_URI": "bolt://127.0.0.1:1"})).way == GIVEN


@pytest.mark.parametrize(("version", "found"), [("1.8.0_402", False), ("11.0.2", False), ("17.0.15", True), ("21", True)])
def test_java_is_new_enough(tmp_path, monkeypatch, version, found):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"""#!/bin/sh\necho 'openjdk version "{version}" 2025-01-01' >&2\n""")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if found:
        assert find_java() == str(java)
    else:
        with pytest.raises(Unobtainable, match="not Java 17"):
            find_java()


def test_the_newest_neo4j_takes_a_java_that_is_installed_beside(tmp_path, monkeypatch):
    for folder, version in (("old", "17.0.15"), ("new", "25.0.3")):
        java = tmp_path / folder / "bin" / "java"
        java.parent.mkdir(parents=True)
        java.write_text(f"""#!/bin/sh\necho 'openjdk version "{version}" 2025-01-01' >&2\n""")
        java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setattr(artifacts, "_INSTALLED", tmp_path)
    assert artifacts.find_java_of_newest() == str(tmp_path / "new" / "bin" / "java")
    monkeypatch.setattr(artifacts, "_INSTALLED", tmp_path / "none")
    assert artifacts.find_java_of_newest() is None


def test_no_java(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(Unobtainable, match="no java in"):
        find_java()
