"""The servers that other tests stand on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from neo4j import GraphDatabase
from neo4j.exceptions import DriverError, Neo4jError, ServiceUnavailable
from support.neo4j.database import MARKER, ForeignDatabase, claim, wipe
from support.waiting import eventually

TESTS = Path(__file__).parents[2]
MAKE_AND_START = """
import os, pathlib, sys
from support.neo4j.choice import choose
from support.neo4j.ways import ways_to_own
own = choose(ways_to_own(os.environ)).found(pathlib.Path(sys.argv[1]))
print(own.server.uri, flush=True)
own.start()
sys.stdin.read()
"""


def run(server, statement):
    with server.driver() as driver:
        return [tuple(record.values()) for record in driver.execute_query(statement).records]


def content(server):
    ((nodes,),) = run(server, "MATCH (node) RETURN count(node)")
    schema = run(server, "SHOW INDEXES YIELD name, type WHERE type <> 'LOOKUP' RETURN name")
    return nodes, len(schema) + len(run(server, "SHOW CONSTRAINTS YIELD name"))


def write_something(server):
    run(server, "CREATE CONSTRAINT `a name` FOR (image:Image) REQUIRE image.id IS UNIQUE")
    run(server, "CREATE INDEX FOR ()-[edge:IS_A]-() ON (edge.source)")
    run(server, "UNWIND range(1, 6000) AS id CREATE (:Image {id: id})-[:IS_A]->(:Concept)")


def test_an_emptied_database_has_neither_nodes_nor_a_schema(empty_neo4j):
    write_something(empty_neo4j)
    before = content(empty_neo4j)
    assert before[0] == 12_000
    wipe(empty_neo4j)
    assert content(empty_neo4j)[0] == 0
    assert before[1] - content(empty_neo4j)[1] == 3


def test_a_database_of_others_is_refused_and_stays_as_it_is(empty_neo4j):
    run(empty_neo4j, f"DROP INDEX {MARKER} IF EXISTS")
    for statement in ("CREATE (:Patient)", "CREATE INDEX FOR (node:Patient) ON (node.name)"):
        run(empty_neo4j, statement)
        before = content(empty_neo4j)
        with pytest.raises(ForeignDatabase, match="delete everything"):
            claim(empty_neo4j)
        assert content(empty_neo4j) == before
        wipe(empty_neo4j)
    claim(empty_neo4j)
    write_something(empty_neo4j)
    claim(empty_neo4j)


@pytest.mark.slow
def test_a_server_keeps_address_password_and_data(make_own_neo4j, tmp_path):
    own = make_own_neo4j(tmp_path / "server", settings={"db.transaction.timeout": "77s"})
    own.start()
    server = own.server
    assert run(server, "SHOW SETTINGS 'db.transaction.timeout' YIELD value") == [("1m17s",)]
    ((edition, version),) = run(server, "CALL dbms.components() YIELD edition, versions RETURN edition, versions[0]")
    assert (edition, version.split(".")[0]) == ("community", "5")
    run(server, "CREATE (:Image {id: 'kept'})")
    own.kill()
    with pytest.raises(ServiceUnavailable):
        run(server, "RETURN 1")
    own.start()
    assert own.server == server
    assert run(server, "MATCH (image) RETURN image.id") == [("kept",)]
    own.stop()
    assert "Shutdown" in own.log("debug")


@pytest.mark.slow
def test_nothing_is_left_of_a_server_whose_test_run_is_killed(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", MAKE_AND_START, str(tmp_path / "server")]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run_of_tests:
        uri = run_of_tests.stdout.readline().strip()
        eventually(lambda: listens(uri), 60)
        run_of_tests.kill()
    eventually(lambda: not listens(uri), 30)


def listens(uri):
    try:
        with GraphDatabase.driver(uri, auth=("neo4j", "another password"), max_transaction_retry_time=0) as driver:
            driver.verify_connectivity()
    except Neo4jError:
        return True
    except DriverError:
        return False
    raise AssertionError("let in by another password")
