"""What is at the other end of an address is told apart, and each cause has its way out."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import threading
from contextlib import ExitStack

import pytest
from kg_service.errors import UnusableStore
from kg_service.graph.neo4j.diagnosis import diagnosis
from nbclip.errors import Unavailable
from support.tcp import free_port

BOLT, OLD_BOLT = b"\0\0\4\5", b"\0\0\0\0"


@pytest.fixture
def listening():
    """Listens on a port, and says something to whoever says something first; nothing: it closes; None: it waits."""
    with ExitStack() as stack:

        def listen(answer, context=None):
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            threading.Thread(target=serve, args=(server, answer, context, stack), daemon=True).start()
            return server.getsockname()[1]

        yield listen


def serve(server, answer, context, stack):
    while True:
        try:
            taken, _ = server.accept()
        except OSError:
            return
        if answer is None:
            stack.enter_context(taken)
            continue
        with contextlib.suppress(OSError), taken:
            connection = context.wrap_socket(taken, server_side=True) if context else taken
            with connection:
                connection.recv(20)
                connection.sendall(answer)


@pytest.fixture(scope="session")
def self_signed(tmp_path_factory):
    """TLS of a server whose certificate nobody vouches for."""
    key, certificate = (tmp_path_factory.mktemp("tls") / name for name in ("key.pem", "certificate.pem"))
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    subject = ["-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*made, *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def told(url):
    return asyncio.run(diagnosis(url))


@pytest.mark.parametrize("scheme", ["neo4j", "bolt", "bolt+s", "neo4j+ssc"])
def test_a_name_that_nobody_has(scheme):
    error = told(f"{scheme}://nobody.invalid")
    assert isinstance(error, Unavailable)
    assert not isinstance(error, UnusableStore)
    assert "no host is called 'nobody.invalid'" in error.message


@pytest.mark.parametrize("scheme", ["neo4j", "bolt", "bolt+s"])
def test_nothing_listens(scheme):
    port = free_port()
    error = told(f"{scheme}://127.0.0.1:{port}")
    assert not isinstance(error, UnusableStore)
    assert f"does not answer: nothing listens on port {port}" in error.message
    assert "start it" in error.hint


def test_nothing_is_said(listening):
    error = told(f"bolt://127.0.0.1:{listening(None)}")
    assert not isinstance(error, UnusableStore)
    assert "does not answer in" in error.message


@pytest.mark.parametrize("scheme", ["neo4j", "bolt", "bolt+s", "bolt+ssc"])
def test_the_http_port(listening, scheme):
    port = listening(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    error = told(f"{scheme}://127.0.0.1:{port}")
    assert isinstance(error, UnusableStore)
    assert f"port {port} speaks HTTP, not Bolt" in error.message
    assert "7687" in error.hint


def test_the_https_port(listening, self_signed):
    error = told(f"bolt+ssc://127.0.0.1:{listening(b'HTTP/1.1 400 Bad Request', self_signed)}")
    assert "speaks HTTP, not Bolt" in error.message


@pytest.mark.parametrize("scheme", ["bolt", "bolt+s"])
def test_something_else(listening, scheme):
    error = told(f"{scheme}://127.0.0.1:{listening(b'SSH-2.0-OpenSSH_9.2')}")
    assert isinstance(error, UnusableStore)
    assert "something else listens on port" in error.message


@pytest.mark.parametrize("scheme", ["neo4j", "bolt", "bolt+s", "bolt+ssc"])
def test_a_proxy_before_a_server_that_is_starting(listening, scheme):
    """As Docker's, which takes connections and closes them: whoever waits for the server waits on."""
    error = told(f"{scheme}://127.0.0.1:{listening(b'')}")
    assert not isinstance(error, UnusableStore)
    assert "closes the connection without a word" in error.message


def test_a_server_of_another_age(listening):
    error = told(f"bolt://127.0.0.1:{listening(OLD_BOLT)}")
    assert isinstance(error, UnusableStore)
    assert "no version of Bolt" in error.message


@pytest.mark.parametrize("tls", ["+s", "+ssc"])
@pytest.mark.parametrize("scheme", ["neo4j", "bolt"])
def test_tls_to_a_server_without(listening, scheme, tls):
    port = listening(BOLT)
    error = told(f"{scheme}{tls}://127.0.0.1:{port}")
    assert isinstance(error, UnusableStore)
    assert "does not use TLS" in error.message
    assert f"KG_STORE={scheme}://127.0.0.1:{port}," in error.hint


@pytest.mark.parametrize("scheme", ["neo4j", "bolt"])
def test_no_tls_to_a_server_that_asks_for_it(listening, self_signed, scheme):
    port = listening(BOLT, self_signed)
    error = told(f"{scheme}://127.0.0.1:{port}")
    assert isinstance(error, UnusableStore)
    assert "asks for TLS" in error.message
    assert f"KG_STORE={scheme}+s://127.0.0.1:{port}, or +ssc" in error.hint


def test_a_certificate_that_nobody_vouches_for(listening, self_signed):
    port = listening(BOLT, self_signed)
    error = told(f"neo4j+s://127.0.0.1:{port}")
    assert isinstance(error, UnusableStore)
    assert "the certificate is refused (self-signed certificate)" in error.message
    assert f"KG_STORE=neo4j+ssc://127.0.0.1:{port}" in error.hint


@pytest.mark.parametrize("scheme", ["neo4j", "bolt"])
def test_a_server_that_is_there_again(listening, scheme):
    error = told(f"{scheme}://127.0.0.1:{listening(BOLT)}")
    assert not isinstance(error, UnusableStore)
    assert "try again" in error.hint
