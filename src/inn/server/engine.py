"""The engine: one thread owns the model and steps all streams together; they join and leave between two steps."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import Any

import torch
from torch import Tensor

from inn.models.generate import NO_NUMBER
from inn.models.sequence import SequenceModel
from inn.nn.modes import evaluating
from inn.nn.state import State
from inn.server.conversations import Conversations, Keep, Kept
from inn.server.draws import draw
from inn.server.rows import Reading, Rows
from inn.server.streams import Ask, Busy, Chance, End, Event, Full, Piece, Stream, alike, chances_of
from inn.system.errors import InputError

IDLE = 30.0
"""Seconds after which a thread that has nothing to do looks for conversations to forget."""
Told = tuple[Stream, Event]


class Engine:
    """Writes many streams of text with one model, one symbol of each at every step.

    A stream draws from a generator of its own and has a row of the state of its own; who else is written beside it
    changes nothing but the last bits of its logits, since products of matrices of other sizes are summed in another
    order. `inn.models.generate.chances` says why the text nearly never turns on that.

    Args:
        model: a trained model with its vocabulary.
        streams: written side by side, at most.
        queue: streams that wait for a place, at most.
        shared: whether streams look up the model's experience alone (see `inn.server.rows.Reading`). None: where the
            model's kind of recall shares tables.
        keep: what is kept of conversations.
        deliver: what takes what streams tell, in the engine's thread, all of a step at once. None: `Stream.events`.

    Raises `InputError` for numbers that mean nothing, and for a model that has no vocabulary.

    Example: ``with Engine(inn.load("runs/demo")) as engine: engine.submit(Ask([1, 2], 10, Draws(seed=1)))``
    """

    def __init__(
        self,
        model: SequenceModel,
        *,
        streams: int = 32,
        queue: int = 256,
        shared: bool | None = None,
        keep: Keep | None = None,
        deliver: Callable[[list[Told]], None] | None = None,
    ):
        if model.vocabulary is None:
            raise InputError("this model has no vocabulary to write with; load a run, or set model.vocabulary")
        if streams < 1 or queue < 0:
            raise InputError(f"there must be at least 1 stream and a queue of 0 or more, not {streams} and {queue}")
        if shared is None:
            shared = bool(getattr(getattr(model, "recall", None), "shares", False))
        self.model, self.vocabulary, self.queue = model, model.vocabulary, queue
        self.reading = Reading(model, shared)
        self.rows = Rows(self.reading.first, streams)
        self.conversations = Conversations(keep or Keep())
        self.deliver = _to_themselves if deliver is None else deliver
        self.ended: Counter[str] = Counter()
        self.steps = self.read = self.written = self.waits = 0
        self._inbox: SimpleQueue[Stream | None] = SimpleQueue()
        self._waiting: deque[Stream] = deque()
        self._readers: deque[Stream] = deque()
        self._writers: list[Stream] = []  # row by row
        self._told: list[Told] = []
        self._talking: set[str] = set()
        self._lock = threading.Lock()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="inn-engine", daemon=True)

    def __enter__(self) -> Engine:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """End all streams and wait for the thread; a second time there is nothing to do."""
        with self._lock:
            self._over = True
        self._inbox.put(None)
        self._thread.join()

    def submit(self, ask: Ask, owner: Any = None) -> Stream:
        """Let a stream be written; from any thread. `owner` is the stream's attribute of that name.

        Raises:
            Full: where too many wait.
            Busy: where the conversation is being written in.
        """
        stream = Stream(ask, self.vocabulary, time.monotonic() + ask.seconds, owner=owner)
        with self._lock:
            if self._over:
                raise Full("the server is stopping; ask another one")
            if self.waits >= self.queue + self.rows.most - len(self._writers) - len(self._readers):
                raise Full(f"{self.waits:,} streams wait already, as many as may; ask again in a few seconds")
            if ask.conversation is not None:
                if ask.conversation in self._talking:
                    raise Busy(f"conversation {ask.conversation!r} is being written in; wait for the answer")
                self._talking.add(ask.conversation)
            self.waits += 1
        self._inbox.put(stream)
        return stream

    @property
    def active(self) -> int:
        """Streams that are read or written now."""
        return len(self._readers) + len(self._writers)

    def _run(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(evaluating(self.model))
            stack.enter_context(torch.no_grad())
            while self._take():
                try:
                    self._drop()
                    self._admit()
                    self._step()
                    self._read()
                except Exception as error:  # of one step; the next streams find a sound engine
                    self._fail(_broken(error))
                self._tell()
            self._fail("the server is stopping", "cancelled")
            self._tell()

    def _take(self) -> bool:
        """Hear of new streams, and wait for them where there is nothing else to do; False when all is over."""
        while True:
            idle = not (self._waiting or self._readers or self._writers)
            try:
                stream = self._inbox.get(block=idle, timeout=IDLE)
            except Empty:
                if not idle:
                    return True
                self.conversations.forget()
                continue
            if stream is None:
                return False
            self._waiting.append(stream)

    def _drop(self) -> None:
        """End the streams that nobody waits for any longer."""
        now = time.monotonic()
        for group in (self._waiting, self._readers):
            for stream in [s for s in group if s.cancelled or now > s.deadline]:
                group.remove(stream)
                self._end(stream, *stream.why, waits=group is self._waiting)
        for row in reversed(range(len(self._writers))):
            stream = self._writers[row]
            if stream.cancelled or now > stream.deadline:
                self._leave(row, keep=False)
                self._end(stream, *stream.why)

    def _admit(self) -> None:
        while self._waiting and self.active < self.rows.most:
            stream = self._waiting.popleft()
            self._readers.append(stream)
            with self._lock:
                self.waits -= 1
            name = stream.ask.conversation
            if name is not None and (kept := self.conversations.take(name)) is not None:
                stream.state, stream.pending, stream.logits = kept.state, kept.pending, kept.logits
                stream.decoder, stream.continued = kept.decoder, True

    def _read(self) -> None:
        """Read a little of some prompts, and begin to write where there is no more to read."""
        for stream in (streams := alike(self._readers, len(self._writers))):
            self._readers.remove(stream)
        if streams and streams[0].whole:
            self._read_whole(streams)
            return
        try:
            self._read_some(streams)
        except Exception as error:  # of these streams alone
            for stream in streams:
                self._spoil(stream, error)
            return
        for stream in streams:
            if stream.next:
                self._readers.append(stream)
                continue
            try:
                self._begin(stream)
            except Exception as error:  # of this one alone
                self._spoil(stream, error)

    def _read_whole(self, streams: list[Stream]) -> None:
        """Read short prompts of new streams where they are to be written, which saves copies, and begin to write."""
        at = len(self._writers)
        try:
            rows = self.rows.begin(self.reading.first, len(streams))
            logits = self.reading.read_(torch.tensor([s.next for s in streams]), rows).cpu()
            for stream, its in zip(streams, logits, strict=True):
                self._tell_read(stream, its)
        except Exception as error:  # of these streams alone
            self.rows.count = at
            for stream in streams:
                self._spoil(stream, error)
            return
        self._writers += streams
        self._go_on(at, logits[:, -1])

    def _read_some(self, streams: list[Stream]) -> None:
        """Read the next symbols of streams that are alike."""
        parts = [stream.next for stream in streams]
        if not streams or not parts[0]:  # a conversation goes on as it was left
            return
        own = streams[0].pending is not None
        found, states = self.reading.read(torch.tensor(parts), [s.state for s in streams], remember=not own)
        for stream, logits, state in zip(streams, found.cpu(), states, strict=True):
            if own:
                stream.pending = None
            else:
                self._tell_read(stream, logits)
            stream.state, stream.logits = state, logits[-1].clone()

    def _tell_read(self, stream: Stream, logits: Tensor) -> None:
        """Count what was read of a prompt, with logits `[T, V]`, and tell its scores where that was asked for."""
        ask, before, part = stream.ask, stream.logits, stream.next
        silent = max(0, ask.silent - stream.at)
        if ask.score:
            rows = logits[:-1] if before is None else torch.cat((before[None], logits[:-1]))
            told = chances_of(rows, part[len(part) - len(rows) :], ask.top or 0)
            first = [Chance(part[0], None, {})] if before is None else []
            self._told.append((stream, Piece("", tuple([*first, *told][silent:]))))
        for symbol in part[silent:]:
            stream.decoder.feed(symbol)
        stream.at += len(part)
        self.read += len(part)

    def _begin(self, stream: Stream) -> None:
        """Write the first symbol after a prompt."""
        if stream.logits is None:
            raise InputError("there is nothing to go on from; give a prompt")
        reason = self._write([stream], stream.logits[None])[0] if stream.ask.tokens else ("length", "")
        assert stream.state is not None
        if reason is not None:
            self._end(stream, *reason, state=stream.state.clone() if stream.ask.conversation else None)
            return
        self.rows.join(stream.state)
        self._writers.append(stream)
        stream.state = stream.logits = None

    def _spoil(self, stream: Stream, error: Exception) -> None:
        """End a stream that cannot be read."""
        known = isinstance(error, InputError)
        self._end(stream, "refused" if known else "error", str(error) if known else _broken(error))

    def _step(self) -> None:
        """Write one symbol of every stream."""
        if not self._writers:
            return
        pending = torch.tensor([s.pending for s in self._writers])
        logits = self.reading.step(pending, self.rows).cpu()
        self.steps += 1
        self._go_on(0, logits)

    def _go_on(self, first: int, logits: Tensor) -> None:
        """Write a symbol of each stream from row `first` on, by logits `[n, V]`; those that end with it leave."""
        reasons = self._write(self._writers[first:], logits)
        for i in reversed(range(len(reasons))):
            if (reason := reasons[i]) is not None:
                stream = self._writers[first + i]
                stream.logits = logits[i].clone()
                state = self._leave(first + i, keep=stream.ask.conversation is not None)
                self._end(stream, *reason, state=state)

    def _write(self, streams: list[Stream], logits: Tensor) -> list[tuple[str, str] | None]:
        """Draw a symbol for each stream; why it ends with that, and what is wrong, or None where it goes on."""
        reasons: list[tuple[str, str] | None] = []
        for row, (stream, symbol) in enumerate(zip(streams, draw(logits, [s.ask.draws for s in streams]), strict=True)):
            if symbol is None:
                reasons.append(("error", NO_NUMBER))
                continue
            ask, stream.pending = stream.ask, symbol
            stream.written += 1
            self.written += 1
            piece = stream.text.feed(stream.decoder.feed(symbol))
            last = stream.written >= ask.tokens
            if last and ask.conversation is None:  # else the rest of a character comes with the next request
                piece += stream.text.feed(stream.decoder.flush())
            if last and not stream.text.ended:
                piece += stream.text.rest()
            told = () if ask.top is None else chances_of(logits[row : row + 1], [symbol], ask.top)
            if piece or told:
                self._told.append((stream, Piece(piece, tuple(told))))
            reasons.append(("stop", "") if stream.text.ended else ("length", "") if last else None)
        return reasons

    def _leave(self, row: int, keep: bool) -> State | None:
        state, last = self.rows.leave(row, keep), self._writers.pop()
        if row < len(self._writers):
            self._writers[row] = last
        return state

    def _end(
        self, stream: Stream, reason: str, sentence: str = "", state: State | None = None, waits: bool = False
    ) -> None:
        name = stream.ask.conversation
        if name is not None and reason in ("stop", "length") and state is not None and stream.logits is not None:
            self.conversations.put(name, Kept(state, stream.pending, stream.logits, stream.decoder))
        with self._lock:
            self.waits -= waits
            self._talking.discard(name or "")
        self.ended[reason] += 1
        stream.state = stream.logits = None
        self._told.append((stream, End(reason, stream.written, stream.at, sentence, stream.continued)))

    def _fail(self, sentence: str, reason: str = "error") -> None:
        """End all streams there are."""
        for stream in self._writers:
            self._end(stream, reason, sentence)
        for stream in self._readers:
            self._end(stream, reason, sentence)
        self._writers, self._readers, self.rows.count = [], deque(), 0
        if reason == "cancelled":
            while not self._inbox.empty():
                if (late := self._inbox.get()) is not None:
                    self._waiting.append(late)
            while self._waiting:
                self._end(self._waiting.popleft(), reason, sentence, waits=True)

    def _tell(self) -> None:
        if self._told:
            told, self._told = self._told, []
            self.deliver(told)


def _broken(error: Exception) -> str:
    return f"the model could not be stepped ({type(error).__name__}: {error})"


def _to_themselves(told: list[Told]) -> None:
    for stream, event in told:
        stream.events.put(event)
