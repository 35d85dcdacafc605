"""A server that runs: in this thread until it is interrupted, or in one of its own."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from typing import Any

import uvicorn

from inn.models.sequence import SequenceModel
from inn.server.app import App
from inn.server.settings import ServerSettings
from inn.system.device import good_threads, using_threads
from inn.system.errors import InputError

CONNECTIONS = 2048
"""Connections at a time; more are answered 503."""
SWITCH = 0.0005
"""Seconds that a thread of Python may keep the others waiting: with the usual 5 ms the engine writes several symbols
before the first of them is sent."""
GRACE = 5
"""Seconds in which answers are sent to their ends when the server stops."""


class Server:
    """Listens from when it is made, and answers while it runs.

    Args:
        model: a trained model with its vocabulary.
        name: what clients call it.
        settings: where it listens, who may ask, and how much.

    Raises `InputError` for an address that cannot be listened on.

    Example: ``with Server(inn.load("runs/demo"), "demo", ServerSettings(port=0)) as server: print(server.url)``
    """

    def __init__(self, model: SequenceModel, name: str, settings: ServerSettings):
        self.app, self._threads = App(model, name, settings), settings.threads
        host = settings.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self.socket = socket.create_server((host, settings.port), family=family, backlog=CONNECTIONS)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(
                f"{host} port {settings.port} cannot be listened on ({reason}); choose another one with --port"
            ) from None
        self.port = self.socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        config = uvicorn.Config(
            self.app.asgi,
            lifespan="on",
            log_level=logging.ERROR,
            access_log=False,
            server_header=False,
            ws="none",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE,
        )
        self._server = _Uvicorn(config, self.app)
        self._thread = threading.Thread(target=self.run, name="inn-server", daemon=True)

    def run(self) -> None:
        """Answer until Ctrl-C (raises `KeyboardInterrupt`) or `stop`; then the address is free again."""
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        try:
            with using_threads(self._threads or max(1, good_threads() - 1)):
                self._server.run(sockets=[self.socket])
        finally:
            sys.setswitchinterval(before)

    def stop(self) -> None:
        """Let it stop; from any thread."""
        self._server.should_exit = True

    def __enter__(self) -> Server:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()
        self._thread.join()


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: App):
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams first: what waits for them is then answered, and connections close."""
        self._app.engine.close()
        await super().shutdown(sockets)
