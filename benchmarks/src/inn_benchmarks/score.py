"""What `inn score` costs beside `inn eval`, and what it holds however long a pipe runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO

import numpy as np
import torch

from inn.cli.score import as_text
from inn.config.assemble import model_config
from inn.config.rivals import NgramConfig
from inn.data.vocabulary import build_vocabulary
from inn.inference.evaluate import evaluate
from inn.inference.scoring.lines import LineScorer
from inn.inference.scoring.source import score_lines
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn_benchmarks.measure import Effort, in_turns, spread
from inn_benchmarks.rows import Measured, Skipped
from inn_benchmarks.run import call

STEADY = Effort(rounds=7, seconds=40.0)
LETTERS = "abcdefghijklmnopqrstuvwxyz \n"
LINE = 80
"""Symbols of a line, its line break included."""


@dataclass(frozen=True)
class PipeSize:
    """A model of the default kind, and how much it reads of a pipe."""

    model: dict[str, Any] = field(default_factory=dict)
    symbols: int = 32_768


def untrained(fields: dict[str, Any]) -> SequenceModel:
    """A model of letters, its numbers drawn at random: what it predicts does not change what it costs."""
    vocabulary = build_vocabulary("characters", LETTERS)
    torch.manual_seed(0)
    model = build_model(model_config("inn", vocab=vocabulary.size, **fields)).eval()
    model.vocabulary = vocabulary
    return model


def score_speed(size: PipeSize = PipeSize(), effort: Effort = STEADY) -> Measured:
    """Time of `evaluate` in one strict stream ÷ time of scoring the same text from a pipe, every line formatted.

    Same windows, same threads, in turns.
    """
    model, data = untrained(size.model), lines(size.symbols)
    vocabulary = model.vocabulary
    assert vocabulary is not None
    symbols, found = vocabulary.encode(data), {}

    def strict() -> None:
        found["eval"] = evaluate(model, symbols)

    def piped() -> None:
        show, scorer = as_text(vocabulary.size), LineScorer(model)
        with pipe(data) as source:
            for line in score_lines(scorer, source):
                show("-", line)
        found["score"] = scorer

    times = in_turns({"eval": strict, "score": piped}, effort)
    c = model.config
    return Measured(
        times["eval"].median / times["score"].median,
        "float32",
        f"N {c.neurons}, D {c.width}, {c.rounds} rounds, {size.symbols:,} symbols in lines of {LINE}, window 512",
        {
            "seconds": spread(times),
            "symbols_per_s": {name: size.symbols / t.median for name, t in times.items()},
            "bits": {"eval": found["eval"].bits, "score": found["score"].bits / found["score"].symbols},
        },
    )


def score_memory(megabytes: int = 100) -> Measured:
    """Megabytes by which the resident memory at the end of a pipe exceeds that after the first megabyte.

    Of a model of counts (order 2), which reads a hundred megabytes in minutes; and, in the details, of the default INN
    over its first megabyte, at every eighth.
    """
    cheap = call(
        "inn_benchmarks.score:resident", {"megabytes": megabytes, "kind": "ngram"}, threads=torch.get_num_threads()
    )
    inn = call("inn_benchmarks.score:resident", {"megabytes": 1, "kind": "inn"}, threads=torch.get_num_threads())
    if "skipped" in cheap:
        raise Skipped(cheap["skipped"])
    held = cheap["bytes"]
    return Measured(
        (held[-1] - held[0]) / 1e6,
        "float32",
        f"n-gram model of bytes, {megabytes} MB in lines of {LINE} through a pipe",
        {"ngram": cheap, "inn": inn},
    )


def resident(megabytes: int, kind: str) -> dict[str, Any]:
    """Resident bytes of this process while a pipe of so many megabytes is scored: after each of them, and at the end.

    After every eighth of one where the model is an INN.
    """
    status = Path("/proc/self/statm")
    if not status.is_file():
        return {"skipped": "this system does not tell the memory of a process"}
    vocabulary, block = build_vocabulary("bytes"), lines(1_000_000)
    torch.manual_seed(0)
    if kind == "ngram":
        model: SequenceModel = build_model(NgramConfig(vocab=256, order=2)).fit(vocabulary.encode(block))  # type: ignore
    else:
        model = build_model(model_config(kind, vocab=256)).eval()
    model.vocabulary = vocabulary
    # Wide windows for the cheap model: what is held beside them is what could grow.
    show, scorer, held = as_text(256), LineScorer(model, window=512 if kind == "inn" else 8192), []
    every = 8 if kind == "inn" else 1
    start = time.perf_counter()
    with pipe(block, megabytes) as source:
        for line in score_lines(scorer, source):
            show("-", line)
            if scorer.symbols * every >= 1_000_000 * (len(held) + 1):
                held.append(resident_bytes(status))
    seconds = time.perf_counter() - start
    return {"bytes": [*held, resident_bytes(status)], "symbols": scorer.symbols, "seconds": seconds}


def resident_bytes(status: Path) -> int:
    """Resident bytes of this process, of its `/proc/self/statm`."""
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def lines(symbols: int) -> bytes:
    """A text of random letters in lines of 80, the same each time."""
    letters = np.frombuffer(LETTERS[:-1].encode(), np.uint8)
    text = letters[np.random.default_rng(0).integers(len(letters), size=symbols)]
    text[LINE - 1 :: LINE] = ord("\n")
    return text.tobytes()


@contextmanager
def pipe(data: bytes, times: int = 1) -> Iterator[BinaryIO]:
    """The reading end of a pipe that these bytes are poured into, so many times over."""
    reading, writing = os.pipe()

    def pour() -> None:
        with os.fdopen(writing, "wb") as end:
            for _ in range(times):
                end.write(data)

    pouring = Thread(target=pour)
    pouring.start()
    with os.fdopen(reading, "rb", buffering=0) as source:
        yield source  # type: ignore[misc]
    pouring.join()
