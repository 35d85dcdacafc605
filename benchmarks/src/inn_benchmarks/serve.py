"""What `inn serve` makes of many clients: symbols a second, how long one waits for the next, and what it holds."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from inn.models.generate import generate
from inn.models.sequence import SequenceModel
from inn.server.draws import Draws
from inn.server.engine import Engine
from inn.server.serving import Server
from inn.server.settings import ServerSettings
from inn.server.streams import Ask, End
from inn_benchmarks.clients import HEAD
from inn_benchmarks.measure import Effort, in_turns, spread
from inn_benchmarks.rows import Measured, Skipped
from inn_benchmarks.run import environ
from inn_benchmarks.score import LETTERS, resident_bytes, untrained

MANY = 32
TURNS = Effort(rounds=5, seconds=20.0, sample=0.0)
CUT = 2000
"""Symbols that a client asks for who goes in the middle."""
HOSTILE = (
    b"", b"{", b"[" * 9999, b"\xff\xfe", b'{"prompt": NaN}', b'{"max_tokens": 1e999}', b'{"n": ' + b"9" * 999 + b"}",
    b'{"prompt": {"a": []}}', b'{"prompt": [99999]}', b'{"prompt": "\\ud800"}', b'{"temperature": "hot"}',
)  # fmt: skip
"""Bodies that no server should mind."""


@dataclass(frozen=True)
class ServeSize:
    """A model like that of recipe `demo`, and the texts it writes."""

    model: dict[str, Any] = field(default_factory=lambda: {"neurons": 8, "width": 19, "rounds": 2})
    prompt: str = "the graph of "
    tokens: int = 100


def serve_speed(size: ServeSize = ServeSize(), effort: Effort = TURNS) -> Measured:
    """Time of writing 32 texts one after another by `generate` ÷ time in which the engine writes them together.

    In the details `served`: the time until 32 clients have them, symbol by symbol, who are a process of their own and
    take their share of the same cores. Every text that they get is held against the one written alone.
    """
    model, found, took = model_of(size), {}, []
    asks = [ask(size, seed) for seed in range(MANY)]
    assert model.vocabulary is not None
    start = model.vocabulary.encode(size.prompt).tolist()

    def alone() -> None:
        found["alone"] = ["".join(generate(model, size.prompt, size.tokens, seed=seed)) for seed in range(MANY)]

    with served(model) as server:

        def engine() -> None:
            own = Engine(model)
            with own:
                streams = [own.submit(Ask(start, size.tokens, Draws(seed=seed))) for seed in range(MANY)]
                for stream in streams:
                    while not isinstance(stream.events.get(), End):
                        pass

        def together() -> None:
            heard = clients(server, MANY, [{**one, "stream": True} for one in asks])
            found["together"] = [one["text"] for one in heard["answers"]]
            took.append(heard["seconds"])  # without the start of the clients' interpreter

        times = in_turns({"alone": alone, "together": together, "engine": engine}, effort)
    same = sum(a == b for a, b in zip(found["alone"], found["together"], strict=True))
    seconds = {"alone": times["alone"].median, "engine": times["engine"].median, "served": statistics.median(took)}
    return Measured(
        seconds["alone"] / seconds["engine"],
        "float32",
        _sizes(model, f"{MANY} texts of {size.tokens} symbols after {len(size.prompt)}"),
        {
            "seconds": spread(times),
            "served": took,
            "same": same,
            "symbols_per_s": {name: MANY * size.tokens / took for name, took in seconds.items()},
        },
    )


def serve_wait(size: ServeSize = ServeSize(), rounds: int = 5) -> Measured:
    """The 99th percentile of the time between two symbols that arrive at a client: of 32 clients ÷ of one, in turns.

    Each client asks for text after text, so that prompts are read while others wait for their next symbol.
    """
    model = model_of(size)
    gaps: dict[int, list[float]] = {1: [], MANY: []}
    with served(model) as server:
        clients(server, MANY, [{**ask(size, seed), "stream": True} for seed in range(MANY)])
        for _ in range(rounds):
            for count, texts in ((1, 20), (MANY, 4 * MANY)):
                asks = [{**ask(size, seed), "stream": True} for seed in range(texts)]
                for answer in clients(server, count, asks)["answers"]:
                    at = answer["times"][1:]  # from the first symbol on
                    gaps[count] += [b - a for a, b in pairwise(at)]
    at = {count: quantiles(seconds) for count, seconds in gaps.items()}
    return Measured(
        at[MANY]["p99"] / at[1]["p99"],
        "float32",
        _sizes(model, f"texts of {size.tokens} symbols after {len(size.prompt)}"),
        {"seconds": {str(count): one for count, one in at.items()}},
    )


def serve_memory(size: ServeSize = ServeSize(tokens=40), requests: int = 10_000, batch: int = 1000) -> Measured:
    """Megabytes by which the server's resident memory after all requests exceeds that after the first two batches.

    All places for streams have been used by then: a row of their states is memory once it is written, and the last rows
    have their turn by chance. 64 clients ask for texts of 1 to 40 symbols, a tenth of them in conversations, which are
    dropped by their number. Every fiftieth request is hostile, or its client goes in the middle. Breaks where an answer
    is lost, or another's.
    """
    status = Path("/proc/self/statm")
    if not status.is_file():
        raise Skipped("this system does not tell the memory of a process")
    model, draw = model_of(size), random.Random(0)
    known = []
    for seed in range(min(200, requests)):
        prompt, tokens = "".join(draw.choices(LETTERS[:-1], k=draw.randint(1, 90))), draw.randint(1, size.tokens)
        text = "".join(generate(model, prompt, tokens, seed=seed))
        known.append(({"prompt": prompt, "max_tokens": tokens, "seed": seed}, text))
    held, counts, start = [], {"right": 0, "refused": 0, "cut": 0}, time.perf_counter()
    with served(model, conversations=16) as server:
        clients(server, MANY, [ask(ServeSize(), seed) for seed in range(MANY)])  # a row is memory once it is written
        for first in range(0, requests, batch):
            asks, wanted = [], []
            for index in range(first, min(first + batch, requests)):
                one, text = draw.choice(known)
                asks.append(_some(index, one))
                wanted.append(text)
            answers = clients(server, 64, asks)["answers"]
            for one, text, answer in zip(asks, wanted, answers, strict=True):
                counts[_judged(one, text, answer)] += 1
            del answers
            held.append(resident_bytes(status))
        engine, end = server.app.engine, time.monotonic() + 10
        while engine.active + engine.waits and time.monotonic() < end:
            time.sleep(0.01)
        left = engine.active + engine.waits + engine.rows.count
    if left or sum(counts.values()) != requests:
        raise RuntimeError(f"{left} streams are left of {requests} requests, {counts}")
    return Measured(
        (held[-1] - held[min(1, len(held) - 1)]) / 1e6,
        "float32",
        _sizes(model, f"{requests:,} requests of 64 clients, texts of 1 to {size.tokens} symbols"),
        {"bytes": held, "seconds": time.perf_counter() - start, "counts": counts, "ended": dict(engine.ended)},
    )


def _some(index: int, one: dict[str, Any]) -> dict[str, Any]:
    """A request: every fiftieth hostile or cut off in turns, a tenth in a conversation, half of them streamed."""
    if index % 100 == 99:
        body = HOSTILE[index // 100 % len(HOSTILE)]
        size = len(body) + (50 if index % 300 == 299 else 0)  # the rest never comes
        return {"raw": HEAD.format(size) + body.decode("latin-1")}
    if index % 100 == 49:
        return {**one, "stream": True, "max_tokens": CUT, "cut": index % 7 + 1}
    more = {"conversation": f"c{index}"} if index % 10 == 3 else {}
    return {**one, **more, "stream": index % 2 == 0}


def _judged(one: dict[str, Any], text: str, answer: dict[str, Any]) -> str:
    """What became of a request; raises `RuntimeError` for what should not have."""
    status, got = answer.get("status"), answer.get("text", "")
    if "raw" in one and status in (0, 400):
        return "refused"
    if status == 200 and one.get("max_tokens") == CUT and (got.startswith(text) or text.startswith(got)):
        return "cut"
    if status == 200 and got == text:
        return "right"
    raise RuntimeError(f"{one} was answered by {answer}, not by {text!r}")


def model_of(size: ServeSize) -> SequenceModel:
    """One that writes other symbols each time: untrained models say the same again and again."""
    model = untrained(size.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def ask(size: ServeSize, seed: int) -> dict[str, Any]:
    """The JSON of a request."""
    return {"prompt": size.prompt, "max_tokens": size.tokens, "seed": seed}


@contextmanager
def served(model: SequenceModel, **settings: Any):
    """A server of a model on a free port."""
    with Server(model, "bench", ServerSettings(port=0, **settings)) as server:
        yield server


def clients(server: Server, count: int, asks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Let so many clients ask, in a process of their own; see `inn_benchmarks.clients`."""
    plan = json.dumps({"port": server.port, "clients": count, "asks": list(asks)})
    command = [sys.executable, "-m", "inn_benchmarks.clients"]
    done = subprocess.run(command, input=plan, capture_output=True, text=True, env=environ(1), check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def quantiles(values: list[float]) -> dict[str, float]:
    """The median, the 99th percentile, and how many there are."""
    ordered = sorted(values)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[int(0.99 * (len(ordered) - 1))], "n": len(ordered)}


def _sizes(model: SequenceModel, what: str) -> str:
    c = model.config
    return f"N {c.neurons}, D {c.width}, {c.rounds} rounds, {what}"
