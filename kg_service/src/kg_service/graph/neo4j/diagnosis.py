"""Why Neo4j gives no answer at an address: what a connection of our own meets there, without TLS and with it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from nbclip.errors import NBClipError, Unavailable

from kg_service.errors import UnusableStore

Speaker = Literal["bolt", "another bolt", "http", "something else", "nobody"]
"""Who is at the other end; "nobody" closes the connection without a word."""

_GREETING = bytes.fromhex("6060B017 00080805 00000004 00000000 00000000")
"""Bolt's first bytes: its mark, and the versions 5.0 to 5.8 and 4.0."""
_PORT = 7_687
_WITHIN_S = 1.5
_START = "start it, or correct KG_STORE"


@dataclass(frozen=True, slots=True)
class _Place:
    """A server's address, taken apart."""

    scheme: str
    tls: str
    host: str
    port: int

    def url(self, tls: str) -> str:
        """The address with `tls`: empty, `+s` or `+ssc`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}{tls}://{host}:{self.port}"


async def diagnosis(url: str) -> NBClipError:
    """The error that says why, and what to do about it.

    Args:
        url: `neo4j://HOST[:PORT]` or bolt, with +s or +ssc for TLS.
    """
    place = _place(url)
    where = f"Neo4j at {url}"
    try:
        plain = await _speaker(place, None)
    except socket.gaierror as error:
        hint = "correct KG_STORE, or look at the name server"
        return Unavailable(f"{where}: no host is called {place.host!r} ({error.strerror})", hint=hint)
    except TimeoutError:
        return Unavailable(f"{where} does not answer in {_WITHIN_S:g} s", hint="look at the server, and at firewalls on the way")
    except ConnectionRefusedError:
        return Unavailable(f"{where} does not answer: nothing listens on port {place.port}", hint=_START)
    except OSError as error:
        return Unavailable(f"{where} does not answer: {error.strerror or error}", hint=_START)
    if plain == "http":
        return UnusableStore(f"{where}: port {place.port} speaks HTTP, not Bolt", hint=f"Bolt's port is {_PORT} by default")
    if plain == "another bolt":
        return UnusableStore(f"{where} speaks no version of Bolt that this program does", hint="Neo4j 5.26 or newer is needed")
    return await (_of_tls(place, plain, where) if place.tls else _of_plain(place, plain, where))


async def _of_plain(place: _Place, plain: Speaker, where: str) -> NBClipError:
    """Of an address without TLS."""
    if plain == "bolt":
        # It is there: it was not a moment ago, or `neo4j://` was sent on to an address that can't be reached.
        hint = f"try again; if it stays so, {place.url('').replace('neo4j://', 'bolt://')} asks this address alone"
        return Unavailable(f"{where} listens, but the driver gets no answer of the address that it goes by", hint=hint)
    with suppress(OSError, TimeoutError):
        if await _speaker(place, _context("+ssc")) == "bolt":
            hint = f"KG_STORE={place.url('+s')}, or +ssc where nobody vouches for its certificate"
            return UnusableStore(f"{where} asks for TLS", hint=hint)
    return _of_stranger(place, plain, where)


async def _of_tls(place: _Place, plain: Speaker, where: str) -> NBClipError:
    """Of an address with TLS."""
    try:
        secure = await _speaker(place, _context(place.tls))
    except ssl.SSLCertVerificationError as error:
        hint = f"KG_STORE={place.url('+ssc')} takes a certificate that nobody vouches for; or let this machine trust its issuer"
        return UnusableStore(f"{where}: the certificate is refused ({error.verify_message})", hint=hint)
    except (OSError, TimeoutError):
        secure = "nobody"
    if secure == "bolt":
        return Unavailable(f"{where} listens, but the driver gets no answer of it", hint="try again, and look at the server")
    if secure == "http":
        return UnusableStore(f"{where}: port {place.port} speaks HTTP, not Bolt", hint=f"Bolt's port is {_PORT} by default")
    if plain == "bolt":
        hint = f"KG_STORE={place.url('')}, or server.bolt.tls_level in its neo4j.conf"
        return UnusableStore(f"{where} does not use TLS", hint=hint)
    return _of_stranger(place, plain, where)


def _of_stranger(place: _Place, plain: Speaker, where: str) -> NBClipError:
    """Of who speaks Bolt neither with TLS nor without. A proxy before a server that is starting says nothing."""
    if plain == "nobody":
        return Unavailable(f"{where} does not answer: port {place.port} closes the connection without a word", hint=_START)
    return UnusableStore(f"{where}: something else listens on port {place.port}", hint="correct KG_STORE")


def _place(url: str) -> _Place:
    parts = urlsplit(url)
    scheme, plus, tls = parts.scheme.partition("+")
    return _Place(scheme, plus + tls, parts.hostname or "", parts.port or _PORT)


def _context(tls: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if tls == "+ssc":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _speaker(place: _Place, context: ssl.SSLContext | None) -> Speaker:
    """Who answers Bolt's greeting.

    Raises:
        OSError: there is no connection, or none with TLS.
        TimeoutError: there is none in time, or nothing is said on it.
    """
    async with asyncio.timeout(_WITHIN_S):
        reader, writer = await asyncio.open_connection(place.host, place.port, ssl=context)
        try:
            writer.write(_GREETING)
            said = await reader.read(4)
        except ConnectionError:
            said = b""
        finally:
            # With TLS, closing waits for the other end to say goodbye.
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
    return _who_says(said)


def _who_says(said: bytes) -> Speaker:
    if not said:
        return "nobody"
    if said == b"HTTP":
        return "http"
    if said == bytes(4):
        return "another bolt"
    # Two zeros, then the minor and the major version that it takes.
    return "bolt" if said[:2] == bytes(2) and len(said) == 4 else "something else"
