"""A page served to the person at this machine, and to nobody else."""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from inn.system.errors import InputError
from inn.system.parse import parse_json

LOOPBACK = ("127.0.0.1", "::1", "localhost")
LIMIT = 1_000_000
"""Bytes of a request."""
JSON = "application/json; charset=utf-8"
PATIENCE = 30.0
"""Seconds that a connection may keep silent in the middle of a request."""

Answer = dict[str, Any] | Iterator[str]


class Superseded(Exception):
    """The person has asked for something else in the meantime; nobody waits for this answer."""


class _Refused(Exception):
    """A request that is not answered; its arguments are the status and a sentence."""


class LocalServer(ThreadingHTTPServer):
    """Serves one page and the questions that it asks, on the loopback interface only.

    Other programs on the machine, and pages of other sites in the same browser, are kept out by a random token in
    every address, and by refusing requests whose `Host` is not this server's own (DNS rebinding) or whose `Origin` is
    another's.

    Args:
        page: what `GET /TOKEN/` answers with, HTML.
        questions: functions by name; `POST /TOKEN/NAME` calls one with the request's JSON object. What it returns is
            sent as JSON, or piece by piece where it is an iterator of text. `InputError` is a mistake in the request.
        host: a name of the loopback interface.
        port: 0 takes one that is free.

    Raises:
        InputError: for a host that is not the loopback interface, and a port that is taken.
    """

    daemon_threads = True

    def __init__(
        self,
        page: str,
        questions: dict[str, Callable[[dict[str, Any]], Answer]],
        host: str = LOOPBACK[0],
        port: int = 0,
    ):
        if host not in LOOPBACK:
            raise InputError(
                f"the page is served to this machine only, so host must be one of {', '.join(LOOPBACK)}, not '{host}'; "
                "from another machine reach it through a tunnel (ssh -L)"
            )
        self.page, self.questions, self.token = page.encode(), questions, secrets.token_urlsafe(24)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"port {port} cannot be listened on ({reason}); choose another one with --port") from None
        name = f"[{host}]" if ":" in host else host
        self.hosts = {f"{each}:{self.server_port}" for each in ("127.0.0.1", "localhost", "[::1]")}
        self.origins = {f"http://{each}" for each in self.hosts}
        self.url = f"http://{name}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away in the middle of an answer is no error of ours."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: LocalServer
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server_version = sys_version = "inn"

    def do_GET(self) -> None:
        if (name := self._admitted()) is None:
            return
        if name:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
        else:
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)

    def do_POST(self) -> None:
        name = self._admitted()
        question = None if name is None else self.server.questions.get(name)
        if question is not None:
            self._answer(question)
        elif name is not None:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such question")

    def _answer(self, question: Callable[[dict[str, Any]], Answer]) -> None:
        try:
            answer = question(self._asked())
            if isinstance(answer, dict):
                text = json.dumps(answer, ensure_ascii=False, allow_nan=False)
                self._send(HTTPStatus.OK, JSON, text.encode())
            else:
                self._stream(answer)
        except _Refused as refused:
            self._refuse(*refused.args)
        except InputError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except Superseded:
            self._refuse(HTTPStatus.CONFLICT, "something else was asked for in the meantime")

    def _asked(self) -> dict[str, Any]:
        """The request's JSON object."""
        try:
            size = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "the request does not say how long it is") from None
        if not 0 <= size <= LIMIT:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request is at most {LIMIT:,} bytes long")
        try:
            asked = parse_json(self.rfile.read(size).decode("utf-8"), "the request", object)
        except ValueError:  # bytes that are no UTF-8 are one too
            raise _Refused(HTTPStatus.BAD_REQUEST, "the request is not JSON in UTF-8") from None
        if not isinstance(asked, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, "the request is not a JSON object")
        return asked

    def _admitted(self) -> str | None:
        """The rest of the path after the token; None where the request was refused."""
        origin = self.headers.get("Origin")
        if self.headers.get("Host", "") not in self.server.hosts or origin not in (None, *self.server.origins):
            self._refuse(HTTPStatus.FORBIDDEN, "this page is served to this machine only")
            return None
        _, token, *rest = (urlsplit(self.path).path + "/").split("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "this address lacks the token that `inn play` printed")
            return None
        return "/".join(rest).strip("/")

    def _stream(self, pieces: Iterator[str]) -> None:
        """Send text as it comes; the end of the connection is the end of the text."""
        first = next(pieces, "")  # a mistake shows before anything is sent
        self.close_connection = True
        self._head(HTTPStatus.OK, "text/plain; charset=utf-8", {"Connection": "close"})
        try:
            self.wfile.write(first.encode())
            for piece in pieces:
                self.wfile.write(piece.encode())
        except Superseded:
            pass
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self.close_connection = True  # what is left of the request is not read
        body = json.dumps({"error": sentence}).encode()
        self._send(status, JSON, body, {"Connection": "close"})

    def _send(self, status: HTTPStatus, kind: str, body: bytes, more: dict[str, str] | None = None) -> None:
        self._head(status, kind, {"Content-Length": str(len(body)), **(more or {})})
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, more: dict[str, str]) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            **more,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a terminal full of addresses with tokens helps nobody."""
