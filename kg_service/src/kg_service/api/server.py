"""uvicorn, set for this service: long keep-alive, bounded heads and connections, and a stop that loses no answer."""

from __future__ import annotations

import functools
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from nbclip.errors import InvalidInput, NBClipError
from threadpoolctl import threadpool_limits

from kg_service.api.application import create_app
from kg_service.api.serving.connection_limits import connection_limits
from kg_service.api.serving.protocol import Protocol
from kg_service.app.keys import refuse_open_bind
from kg_service.app.settings import check_semantic_types, check_settings, unknown_variables
from kg_service.config import Settings
from kg_service.errors import UnusableStore, WrongCredentials
from kg_service.graph import probe
from kg_service.tracing import traced

_MARGIN_S = 2


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then ends with status 0.

    Raises:
        InvalidInput: it would listen to others without a key, the address is taken, a setting is not usable, or it only reads and
            its data folder is not there.
        WrongCredentials, UnusableStore: the graph store refuses the login, or can't be used as it is set up.
    """
    refuse_open_bind(settings)
    check_settings(settings)
    check_semantic_types(settings)
    if settings.read_only:
        _refuse_missing_folder(settings)
    else:
        _refuse_wrong_store(settings)
    for name in unknown_variables(settings):
        structlog.get_logger().warning("this variable has no effect", variable=name, hint="kg-service settings lists them all")
    # A batch's product is too small to share out among cores, and requests share them already.
    with threadpool_limits(1), traced(), _listening(settings) as listener:
        GracefulServer(create_app(settings), settings).run(sockets=listener)


def _refuse_missing_folder(settings: Settings) -> None:
    """Raises InvalidInput if there is no data folder, which a service that only reads doesn't make; a snapshot may come later."""
    if not settings.data.is_dir():
        raise InvalidInput(
            f"{settings.data.absolute()} is not there, or is no folder",
            hint="name the folder that has snapshots/ in it, with --data or KG_DATA; is it mounted?",
        )


def _refuse_wrong_store(settings: Settings) -> None:
    """Raises what never mends itself, such as a wrong login or address, whereas an absent store may come back."""
    try:
        probe(settings.store_url, user=settings.store_user, password=settings.store_password.get_secret_value())
    except (WrongCredentials, UnusableStore, InvalidInput):
        raise
    except NBClipError as error:
        structlog.get_logger().warning("graph store", reason=str(error))


class GracefulServer(uvicorn.Server):
    """After SIGTERM `/readyz` says 503 at once, requests are answered for `drain_s` more, and those begun are finished."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(_config(app, settings))
        self._app = app
        self._settings = settings
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to stop; a second signal, or Ctrl-C, skips the drain."""
        drain_s = self._settings.drain_s if sig == signal.SIGTERM and self._stop_at is None else 0.0
        if self._stop_at is None:
            self._end_in_time()
        self._stop_at = time.monotonic() + drain_s
        self._app.state.stopping = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; says where it listens."""
        await super().startup(sockets=sockets)
        if self.started:
            settings = self._settings
            address = f"unix:{settings.uds}" if settings.uds else f"http://{settings.host}:{_port(sockets) or settings.port}"
            structlog.get_logger().info("serving", address=address, documentation=f"{settings.root_path}/docs")

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's, ten times a second; ends the main loop once the drain is over."""
        self.should_exit = self.should_exit or (self._stop_at is not None and time.monotonic() >= self._stop_at)
        return await super().on_tick(counter)

    def _end_in_time(self) -> None:
        """Ends the process in `stop_s` whatever a thread still does; all that is stored survives a kill."""

        def end() -> None:
            structlog.get_logger().warning("stopped with work unfinished", seconds=self._settings.stop_s)
            os._exit(0)

        timer = threading.Timer(self._settings.stop_s - 0.5, end)
        timer.daemon = True
        timer.start()


def _port(sockets: list[socket.socket] | None) -> int:
    """The port that was bound, which the settings may have left open; 0 for a unix socket."""
    return int(sockets[0].getsockname()[1]) if sockets else 0


@contextmanager
def _listening(settings: Settings) -> Iterator[list[socket.socket] | None]:
    """The bound socket, so that a taken address is a one-line error; uvicorn binds unix sockets."""
    if settings.uds:
        yield None
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise InvalidInput(
                f"can't listen on {settings.host} port {settings.port}: {error.strerror or error}", hint="choose another --port"
            ) from error
        yield [listener]


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    place: dict[str, Any] = {"uds": str(settings.uds)} if settings.uds else {"host": settings.host, "port": settings.port}
    return uvicorn.Config(
        app,
        **place,
        http=functools.partial(Protocol, limits=connection_limits(settings)),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=max(1, settings.stop_s - int(settings.drain_s) - _MARGIN_S),
    )
