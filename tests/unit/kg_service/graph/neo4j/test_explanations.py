"""What an error of the server means to a caller; codes that only a cluster, Enterprise or a full disk give are among them."""

import pytest
from kg_service.errors import UnusableStore, WrongCredentials
from kg_service.graph.neo4j.address import Address
from kg_service.graph.neo4j.explanations import TooLarge, explained, is_final
from nbclip.errors import NBClipError, Unavailable
from neo4j.exceptions import Neo4jError

HERE = Address("bolt://host", "graph", "somebody", "secret")  # pragma: allowlist secret
POOL = "The allocation of an extra 2.0 MiB would use more than the limit 10.0 MiB. {} threshold reached"


def server_error(code, message="said the server.\nIn two lines."):
    """As the driver makes it of the server's answer."""
    return Neo4jError._basic_hydrate(neo4j_code=f"Neo.{code}", message=message)


def told(error, address=HERE):
    with pytest.raises(NBClipError) as raised, explained(address, 10):
        raise error
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("ClientError.Security.Unauthorized", WrongCredentials, "refuses 'somebody'"),
        ("ClientError.Security.TokenExpired", WrongCredentials, "refuses 'somebody'"),
        ("ClientError.Security.CredentialsExpired", WrongCredentials, "another password of 'somebody' first"),
        ("ClientError.Security.Forbidden", UnusableStore, "does not let 'somebody' do this: said the server. In two lines"),
        ("ClientError.Database.DatabaseNotFound", WrongCredentials, "no database 'graph'"),
        ("ClientError.General.ForbiddenOnReadOnlyDatabase", UnusableStore, "database 'graph' of bolt://host is read-only"),
        ("ClientError.General.WriteOnReadOnlyAccessDatabase", UnusableStore, "is read-only"),
        ("ClientError.General.ReadOnly", UnusableStore, "is read-only"),
        ("ClientError.Schema.ConstraintValidationFailed", UnusableStore, "refuses what this program writes: said the server"),
        ("DatabaseError.Schema.ConstraintCreationFailed", UnusableStore, "can't have this graph's schema"),
        ("ClientError.Statement.SyntaxError", UnusableStore, "does not understand a query"),
        ("ClientError.Procedure.ProcedureNotFound", UnusableStore, "refuses: said the server"),
        ("TransientError.General.DatabaseUnavailable", Unavailable, "can't do this now: said the server"),
        ("DatabaseError.General.UnknownError", Unavailable, "has failed and needs a restart"),
        ("ClientError.Security.AuthenticationRateLimit", Unavailable, "is locked after failed logins"),
    ],
)
def test_every_refusal_is_one_line_of_its_kind(code, kind, message):
    error = told(server_error(code))
    assert type(error) is kind
    assert message in error.message
    assert error.status == 503
    assert error.exit_code == (75 if kind is Unavailable else 2)


def test_a_server_that_asks_for_a_login_is_not_told_to_refuse_nobody():
    assert "asks for a login" in told(server_error("ClientError.Security.Unauthorized"), Address("bolt://h", "x", "", "")).message


@pytest.mark.parametrize(
    ("code", "said", "setting"),
    [
        ("MemoryPoolOutOfMemoryError", POOL.format("dbms.memory.transaction.total.max"), "dbms.memory.transaction.total.max"),
        ("MemoryPoolOutOfMemoryError", POOL.format("db.memory.transaction.max"), "db.memory.transaction.max"),
        ("TransactionOutOfMemoryError", "set 'dbms.memory.transaction.max'", "dbms.memory.transaction.max"),
        ("OutOfMemoryError", "try increasing 'server.memory.heap.max_size'", "server.memory.heap.max_size"),
        ("OutOfMemoryError", "no more memory", "server.memory.heap.max_size"),
    ],
)
def test_too_little_memory_names_the_setting_and_is_not_tried_again(code, said, setting):
    error = server_error(f"TransientError.General.{code}", said)
    assert is_final(error)
    explanation = told(error)
    assert type(explanation) is TooLarge
    assert f"raise {setting}" in explanation.hint
    assert said.rstrip(".") in explanation.message


@pytest.mark.parametrize(
    ("code", "final"),
    [
        ("TransientError.Transaction.DeadlockDetected", False),
        ("TransientError.General.DatabaseUnavailable", False),
        ("ClientError.General.ForbiddenOnReadOnlyDatabase", True),
        ("ClientError.Security.Forbidden", True),
    ],
)
def test_what_may_go_through_later_is_tried_again(code, final):
    assert is_final(server_error(code)) is final
