"""The application: what stands at which address, who may ask, and how errors are told."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from inn.models.sequence import SequenceModel
from inn.server import answers
from inn.server.asked import Completions, NoModel, completions
from inn.server.conversations import Keep
from inn.server.engine import Engine, Told
from inn.server.metrics import KIND, Metrics
from inn.server.settings import ServerSettings, is_loopback, names_loopback
from inn.server.streams import Busy, End, Event, Full, Piece
from inn.system.errors import InputError
from inn.system.parse import parse_json

PATIENCE = 30.0
"""Seconds in which the body of a request has to come."""
LONG = 1 << 14
"""Bytes of a request, or log-probabilities of an answer, from which a thread is given it, so that nobody else waits."""
GONE = End("cancelled", 0, 0)
"""Told to a request whose client has gone."""
STATUS = {"refused": 400, "error": 500, "timeout": 504, "cancelled": 503}


class Refused(Exception):
    """A request that is not answered: status, sentence, and a code."""


class App:
    """Serves a model as OpenAI's API does: `/v1/completions`, `/v1/models`; `/healthz`, `/metrics`.

    Args:
        model: a trained model with its vocabulary.
        name: what clients call it.
        settings: who may ask, and how much.

    Example: ``uvicorn.run(App(inn.load("runs/demo"), "demo", ServerSettings()).asgi)``
    """

    def __init__(self, model: SequenceModel, name: str, settings: ServerSettings):
        s = settings
        keep = Keep(s.conversations, s.conversation_bytes, s.conversation_seconds)
        self.name, self.settings, self.created = name, settings, int(time.time())
        self.engine = Engine(model, streams=s.streams, queue=s.queue, shared=s.shared, keep=keep, deliver=self._deliver)
        self.vocabulary, self.metrics = self.engine.vocabulary, Metrics(self.engine)
        self.symbol = answers.namer(self.vocabulary)
        self._loop: asyncio.AbstractEventLoop | None = None
        routes = [
            Route("/v1/completions", self.complete, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/healthz", self.health),
            Route("/metrics", self.measured),
        ]
        handlers: Any = {HTTPException: _not_here, ClientDisconnect: _left, Refused: _refused, Exception: _broken}
        self.asgi: ASGIApp = self._gate(Starlette(routes=routes, exception_handlers=handlers, lifespan=self._life))

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        with self.engine:
            yield

    def _gate(self, inner: ASGIApp) -> ASGIApp:
        """Let in who may ask."""
        token = None if self.settings.token is None else f"Bearer {self.settings.token}".encode()
        local = token is None and is_loopback(self.settings.host)

        async def gate(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                if scope["type"] == "lifespan":
                    await inner(scope, receive, send)
                return
            headers, refused = dict(scope["headers"]), None
            shown = headers.get(b"authorization", b"")
            if token is not None and scope["path"] != "/healthz" and not hmac.compare_digest(shown, token):
                refused = (
                    401,
                    "the token is missing or wrong; send it as 'Authorization: Bearer TOKEN'",
                    "invalid_api_key",
                )
            elif local and not names_loopback(headers.get(b"host", b"").decode("latin-1")):
                refused = 403, "this server answers this machine only", "forbidden_host"
            if refused is None:
                await inner(scope, receive, send)
            else:
                await _refused(None, Refused(*refused))(scope, receive, send)

        return gate

    def _deliver(self, told: list[Told]) -> None:
        """From the engine's thread to that of the requests, once a step."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed: nobody listens any more
                self._loop.call_soon_threadsafe(_spread, told)

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def measured(self, _: Request) -> Response:
        return Response(self.metrics.text(), media_type=KIND)

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        if (name := request.path_params["name"]) != self.name:
            raise Refused(404, f"there is no model {name!r:.60}; this server has '{self.name}'", "model_not_found")
        return JSONResponse(self._model())

    def _model(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "inn"}

    async def complete(self, request: Request) -> Response:
        """Answer a request for completions."""
        began, status, told = time.monotonic(), 500, None
        try:
            asked = await self._asked(request)
            told = self._told(asked, began, request.receive)
            response = await self._respond(asked, await anext(told), told)
            status = response.status_code
            return response
        except BaseException as error:
            status = (
                error.args[0] if isinstance(error, Refused) else 499 if isinstance(error, ClientDisconnect) else 500
            )
            if told is not None:
                await told.aclose()
            raise
        finally:
            self.metrics.requests.labels(str(status)).inc()
            self.metrics.seconds.observe(time.monotonic() - began)

    async def _asked(self, request: Request) -> Completions:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # pages of other sites can send anything else
            raise Refused(415, "the request must be JSON; send the header 'Content-Type: application/json'", None)
        try:
            body = await asyncio.wait_for(self._body(request), PATIENCE)
        except asyncio.TimeoutError:
            raise Refused(408, f"the request did not come within {PATIENCE:g} seconds", None) from None
        if not body and (other := request.headers.get("upgrade")) is not None:  # which ends the request for uvicorn
            raise Refused(
                400, f"there is no change to {other!r:.60} here; send HTTP/1.1 without a header 'Upgrade'", None
            )
        try:
            return await asyncio.to_thread(self._read, body) if len(body) > LONG else self._read(body)
        except NoModel as error:
            raise Refused(404, str(error), "model_not_found") from None
        except InputError as error:
            raise Refused(400, str(error), None) from None

    def _read(self, body: bytes) -> Completions:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"the request is not UTF-8 (byte {error.start:,})") from None
        tree = parse_json(text, "the request", dict)
        return completions(tree, self.vocabulary, self.name, self.settings)

    async def _body(self, request: Request) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.settings.body:
                raise Refused(413, f"a request has at most {self.settings.body:,} bytes; send less text", None)
            parts.append(part)
        return b"".join(parts)

    async def _told(
        self, asked: Completions, began: float, receive: Receive
    ) -> AsyncGenerator[list[tuple[int, Event]], None]:
        """What the streams of a request tell, as it comes; raises `ClientDisconnect` where the client goes before.

        Streams are cancelled where nobody listens any longer.
        """
        queue: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        streams, left, silent = [], len(asked.asks), True
        watch = asyncio.ensure_future(_gone(receive, queue))
        try:
            for index, ask in enumerate(asked.asks):
                streams.append(self.engine.submit(ask, (queue, index)))
            while left:
                batch = [await queue.get()]
                while not queue.empty():
                    batch.append(queue.get_nowait())
                if watch.done():
                    raise ClientDisconnect
                if silent:
                    silent = False
                    self.metrics.first.observe(time.monotonic() - began)
                left -= sum(isinstance(one, End) for _, one in batch)
                yield batch
        except Full as error:
            raise Refused(429, str(error), "rate_limit_exceeded") from None
        except Busy as error:
            raise Refused(409, str(error), "conversation_busy") from None
        finally:
            watch.cancel()
            for stream in streams:
                stream.cancelled = True

    async def _respond(self, asked: Completions, first: list, told: AsyncGenerator) -> Response:
        _check(first)
        answer, name = answers.Answer(self.name), asked.asks[0].conversation
        choices = [
            answers.Choice(i, self.symbol, None if ask.top is None else self.vocabulary.decoder(), text=text)
            for i, (ask, text) in enumerate(zip(asked.asks, asked.texts, strict=True))
        ]
        if asked.stream:
            return Events(self._parts(asked, answer, choices, first, told))
        _grow(choices, first)
        async for batch in told:
            _check(batch)
            _grow(choices, batch)
        long = sum(len(choice.chances) for choice in choices) * (1 + (asked.asks[0].top or 0)) >= LONG
        body = await asyncio.to_thread(answer.whole, choices, name) if long else answer.whole(choices, name)
        return Response(body, media_type="application/json")

    async def _parts(
        self, asked: Completions, answer: answers.Answer, choices: list, first: list, told: AsyncGenerator
    ) -> AsyncGenerator[bytes, None]:
        """The events of an answer that comes bit by bit."""
        try:
            batch: list | None = first
            while batch is not None:
                _grow(choices, batch)
                wrong = next((e for _, e in batch if isinstance(e, End) and e.reason in STATUS), None)
                if wrong is not None:
                    yield answers.event(answers.error(wrong.sentence, _kind(STATUS[wrong.reason])))
                    return
                yield b"".join(answer.part([choices[i].take()]) for i in dict.fromkeys(i for i, _ in batch))
                batch = await anext(told, None)
            more: dict[str, Any] = {"usage": answers.usage_of(choices)} if asked.usage else {}
            if (name := asked.asks[0].conversation) is not None:
                more["conversation"] = answers.conversation_of(name, choices)
            yield (answer.part([], **more) if more else b"") + answers.DONE
        finally:
            await told.aclose()


class Events(Response):
    """An answer of events, sent as they come; ends when the client goes."""

    def __init__(self, parts: AsyncGenerator[bytes, None]):
        super().__init__(media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self.parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for part in self.parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (ClientDisconnect, OSError):
            pass
        finally:
            await self.parts.aclose()


async def _gone(receive: Receive, queue: asyncio.Queue) -> None:
    """Wait until the client goes, and wake the one who waits for events."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        queue.put_nowait((0, GONE))


def _spread(told: list[Told]) -> None:
    for stream, event in told:
        queue, index = stream.owner
        queue.put_nowait((index, event))


def _grow(choices: list[answers.Choice], batch: list[tuple[int, Event]]) -> None:
    for index, one in batch:
        if isinstance(one, Piece):
            choices[index].text += one.text
            choices[index].chances += one.chances
        else:
            choices[index].end = one


def _check(batch: list[tuple[int, Event]]) -> None:
    """Raise `Refused` where a stream has ended as it should not."""
    for _, one in batch:
        if isinstance(one, End) and one.reason in STATUS:
            raise Refused(STATUS[one.reason], one.sentence, None)


def _kind(status: int) -> str:
    return {401: "authentication_error", 429: "rate_limit_error"}.get(
        status, "invalid_request_error" if status < 500 else "server_error"
    )


def _refused(_: Request | None, refused: Exception) -> Response:
    status, sentence, code = refused.args
    headers = {429: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}, 413: {"Connection": "close"}}.get(status)
    return JSONResponse(answers.error(sentence, _kind(status), code), status, headers)


def _not_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method:.20} {request.url.path:.60}"
    sentence = f"there is nothing at {where}; see POST /v1/completions and GET /v1/models"
    return JSONResponse(answers.error(sentence, "invalid_request_error"), error.status_code, error.headers)


def _left(_: Request, error: Exception) -> Response:
    return Response(status_code=499)  # which nobody reads


def _broken(_: Request, error: Exception) -> Response:
    return JSONResponse(answers.error("something went wrong in the server", "server_error"), 500)
