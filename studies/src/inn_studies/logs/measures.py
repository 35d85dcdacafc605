"""What the study measures of a sample: of a pretrained model, of compressors, and of cheap models of its bytes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from inn_studies.logs.faults import injected
from inn_studies.logs.precision import precisions
from inn_studies.logs.rivals import ORDERS, order_bits, ppm_bits
from inn_studies.logs.samples import KEYS, SYSTEMS, held_out, lines_of, pretraining, sample

if TYPE_CHECKING:
    from inn.models.sequence import SequenceModel

PLAIN, LEARNED, KEYED = "as it was pretrained", "learning while it reads", "a state for each key"
RATE, WINDOW = 2e-3, 256
"""How a model learns while it reads."""
_FIRST = 8.0  # bits of a text's first byte, which a model does not score
_CHUNK = 1024
"""Bytes that are read at once."""
_CHUNKS = 8
"""So many times more while a model learns: all but the last window of them is read once, to tell and to learn."""


def read_held_out(run: str, fold: int, seed: int, each: int, lines: int | None, systems: int | None) -> dict[str, Any]:
    """Bits per byte of the samples of a fold, and the precision of their lines' scores (a measure for `Lab.measure`).

    The model reads each sample from its start, with empty tables, as it was pretrained and learning while it reads; and
    with faults in its second half, as `inn score` reads, with its keys too where the system has some, and learning.

    Args:
        seed: of the faults.
        each: faults of each kind.
        lines: see `samples.sample`.
        systems: of the fold, the first ones, so many.
    """
    from inn.runs.load import load

    model, found = load(run).eval(), {}
    for system in held_out(fold)[:systems]:
        began = time.perf_counter()
        text = sample(system, lines)
        whole = lines_of(text)
        half = sum(map(len, whole[: len(whole) // 2]))
        faulty, kinds = injected(whole, each, seed * len(SYSTEMS) + SYSTEMS.index(system))
        odd = b"".join(faulty)
        clean, wrong = {}, {}
        for name, reader in ((PLAIN, _plain), (LEARNED, _learning)):
            read = reader(model)
            first = read(text[:half])
            other = copy.deepcopy(read)
            clean[name] = np.concatenate((first, read(text[half:])))
            wrong[name] = np.concatenate((first, other(odd[half:])))
        if system in KEYS:
            wrong[KEYED] = _keyed(model, faulty, KEYS[system])
        found[system] = {
            "bytes": len(text),
            "bits": {name: float(bits.sum()) / len(text) for name, bits in clean.items()},
            "precision": {name: precisions(faulty, bits, kinds) for name, bits in wrong.items()},
            "faults": {kind: kinds.count(kind) for kind in sorted(set(kinds) - {""})},
            "seconds": round(time.perf_counter() - began, 1),
        }
    return found


class _Reading:
    """Reads a text in pieces: called with the next piece, it gives the bits of its bytes `[n]`."""

    def __init__(self, cost: Callable[[np.ndarray], np.ndarray]):
        self.cost, self.first = cost, True

    def __call__(self, text: bytes) -> np.ndarray:
        bits = self.cost(np.frombuffer(text, np.uint8).astype(np.int64))
        if self.first:
            bits[0], self.first = _FIRST, False
        return bits


class _Plain:
    def __init__(self, model: SequenceModel):
        from inn.inference.scoring.readings import Readings

        self.readings = Readings(model, _CHUNK, 1)

    def __call__(self, symbols: np.ndarray) -> np.ndarray:
        from inn.inference.scoring.readings import BITS

        return self.readings.cost(symbols, None)[BITS]


class _Learning:
    def __init__(self, model: SequenceModel):
        from inn.inference.learning import Learner, Learning

        self.learner, self.last = Learner(model, Learning(RATE, WINDOW)), None

    def __call__(self, symbols: np.ndarray) -> np.ndarray:
        import torch

        from inn.inference.evaluate import nats_of

        read = symbols if self.last is None else np.concatenate(([self.last], symbols))
        bits = [np.zeros(int(self.last is None))]
        self.last = int(symbols[-1])
        tokens = torch.from_numpy(read)[None]
        for at in range(0, tokens.shape[1] - 1, _CHUNKS * _CHUNK):
            some = tokens[:, at : at + _CHUNKS * _CHUNK + 1]
            bits.append(nats_of(self.learner.read(some[:, :-1]), some[:, 1:])[0].double().numpy() / math.log(2))
        return np.concatenate(bits)


def _plain(model: SequenceModel) -> _Reading:
    return _Reading(_Plain(model))


def _learning(model: SequenceModel) -> _Reading:
    return _Reading(_Learning(model))


def _keyed(model: SequenceModel, lines: Sequence[bytes], key: str) -> np.ndarray:
    """Bits of the bytes `[n]` of lines that are read in a state for each key, as `inn score --key` reads them."""
    from inn.inference.scoring.keys import KEYS as MOST
    from inn.inference.scoring.keys import finder, key_of
    from inn.inference.scoring.readings import BITS, Readings

    readings, find, found = Readings(model, _CHUNK, MOST), finder(key), []
    for line in lines:
        of = key_of(find, line.rstrip(b"\r\n").decode("utf-8", "replace"))
        found.append(readings.cost(np.frombuffer(line, np.uint8).astype(np.int64), of)[BITS])
    found[0][0] = _FIRST
    return np.concatenate(found)


def compressed(system: str, fold: int, first: int, lines: int | None, primed: bool) -> dict[str, Any]:
    """Bits per byte that compressors need for a sample, from nothing, and after what the model was pretrained on.

    A function for `Lab.compute`. Those that are not on this machine are left out.
    """
    from inn.inference.floors import COMPRESSORS, compressors, primed_bits

    text, here = sample(system, lines), compressors()
    alone = {name: 8 * COMPRESSORS[name](text) / len(text) for name in here}
    found: dict[str, Any] = {"programs": here, "alone": alone, "primed": {}}
    if primed:
        before = b"".join(pretraining(fold, first, lines))
        found["primed"] = {name: primed_bits(name, before, [text])[0] / len(text) for name in here}
    return found


def rivalled(system: str, seed: int, each: int, lines: int | None) -> dict[str, Any]:
    """Precision of what cheap models make of a sample with faults, by model and way (a function for `Lab.compute`).

    Models: `order 1` to `order 6`, and `PPM`, which read what the pretrained model reads, from its start.
    """
    whole = lines_of(sample(system, lines))
    faulty, kinds = injected(whole, each, seed * len(SYSTEMS) + SYSTEMS.index(system))
    text = b"".join(faulty)
    bits = {f"order {order}": order_bits(text, order) for order in ORDERS} | {"PPM": ppm_bits(text)}
    return {
        "precision": {name: precisions(faulty, of, kinds) for name, of in bits.items()},
        "bits": {name: float(of.mean()) for name, of in bits.items()},
    }
