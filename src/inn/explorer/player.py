"""What a person who plays with a model asks it: to read a text, without some neurons, and to go on with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Lock
from typing import Any

import numpy as np

from inn.analysis import cut, silenced
from inn.data.base import visible
from inn.explorer.passage import SYMBOLS, Reading
from inn.explorer.server import Superseded
from inn.models.generate import generate
from inn.models.inn import INN
from inn.system.errors import InputError

WRITTEN = 2000
"""Symbols that are written at once, at most."""
HOP = 500
"""Where a text is too long, its beginning is left out in pieces of so many symbols: most keystrokes then cost one."""
KEPT = 3
"""Sets of silenced neurons whose readings are kept."""
Without = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]
"""Silenced neurons and closed edges (to, from), in order."""
LATE = 1000
"""How far behind the newest a serial may be and count as late; one further behind is of another page, or a new one."""


class Player:
    """Answers one page's questions, one at a time; a newer one ends an older one that is not done.

    A question is a JSON object with `serial`, a number that grows, as milliseconds do, `text`, `silenced`, a list of
    neurons, and `closed`, a list of edges [to, from]. At most the last `SYMBOLS` symbols of a text are read, and of
    those only what was not there before.
    Reading starts from the run's experience, as writing does.

    Args:
        model: a loaded run.

    Every method raises `InputError` for a question that is not what it should be, and `Superseded`.
    """

    def __init__(self, model: INN):
        assert model.vocabulary is not None
        self.model, self.vocabulary, self.neurons = model, model.vocabulary, model.config.neurons
        self._lock, self._serials, self._newest = Lock(), Lock(), -1
        self._readings: dict[Without, tuple[np.ndarray, Reading]] = {}

    def read(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Read `text`: the passage without the silenced neurons, and what the text costs with all of them.

        Returns `passage` (as `read_passage` gives it; None for fewer than two symbols), `whole_bits` per symbol with
        all neurons, and `said`, what a person should know (symbols that were left out).
        """
        serial, text, without = self._request(asked)
        symbols, said = self._symbols(text)
        if len(symbols) < 2:
            return {"passage": None, "whole_bits": None, "said": said}
        with self._lock:
            passage = self._passage(symbols, without, serial)
            whole = self._passage(symbols, ((), ()), serial)["mean_bits"] if any(without) else passage["mean_bits"]
        return {"passage": passage, "whole_bits": whole, "said": said}

    def write(self, asked: dict[str, Any]) -> Iterator[str]:
        """Continue `text` by `tokens` symbols at `temperature`, from `seed`, without the silenced neurons."""
        serial, text, without = self._request(asked)
        tokens, temperature, seed = asked.get("tokens", 200), asked.get("temperature", 0.7), asked.get("seed")
        if type(tokens) is not int or not 0 <= tokens <= WRITTEN:
            raise InputError(f"tokens must be an integer from 0 to {WRITTEN}, not {tokens!r:.80}")
        if type(temperature) not in (int, float):
            raise InputError(f"temperature must be a number, not {temperature!r:.80}")
        if seed is not None and type(seed) is not int:
            raise InputError(f"seed must be an integer, not {seed!r:.80}")
        start = self.vocabulary.decode(self._symbols(text)[0])
        pieces = generate(self.model, start, tokens, temperature=temperature, seed=seed, unknown="skip")
        return self._while_wanted(pieces, without, serial)

    def _while_wanted(self, pieces: Iterator[str], without: Without, serial: int) -> Iterator[str]:
        with self._lock, self._lesion(without):
            for piece in pieces:
                self._check(serial)
                yield piece

    def _passage(self, symbols: np.ndarray, without: Without, serial: int) -> dict[str, Any]:
        """The passage; what was read of it before is not read again."""
        self._check(serial)
        known, reading = self._readings.pop(without, (symbols[:0], None))
        if reading is None or not np.array_equal(symbols[: len(known)], known):
            known, reading = symbols[:0], Reading(self.model, self.vocabulary, self.model.experience)
        with self._lesion(without):
            reading.read(symbols[len(known) :])
        if len(self._readings) >= KEPT:
            self._readings.pop(next(iter(self._readings)))  # the one that was not asked for the longest
        self._readings[without] = symbols, reading
        return {
            "title": "What you type",
            "before": 0,
            **({"silenced": list(without[0])} if without[0] else {}),
            **({"closed": list(map(list, without[1]))} if without[1] else {}),
            **reading.facts(symbols),
        }

    def _lesion(self, without: Without) -> ExitStack:
        neurons, edges = without
        with ExitStack() as stack:
            if neurons:
                stack.enter_context(silenced(self.model, neurons))
            if edges:
                stack.enter_context(cut(self.model, edges))
            return stack.pop_all()

    def _symbols(self, text: str) -> tuple[np.ndarray, list[str]]:
        """The symbols of a text that are read, and what a person should know of the others."""
        symbols, said = np.asarray(self.vocabulary.encode(text, unknown="skip")), []
        if self.vocabulary.kind == "characters":
            unknown = sorted(set(text) - set(self.vocabulary.decode(symbols)))
            if unknown:
                more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
                said.append(f"left out, unknown to the model: {' '.join(map(visible, unknown[:20]))}{more}")
        if len(symbols) > SYMBOLS:
            start = -(-(len(symbols) - SYMBOLS) // HOP) * HOP
            said.append(f"the first {start:,} symbols are left out: at most {SYMBOLS:,} are read")
            symbols = symbols[start:]
        return symbols, said

    def _request(self, asked: dict[str, Any]) -> tuple[int, str, Without]:
        serial, text, muted = asked.get("serial"), asked.get("text"), asked.get("silenced", [])
        closed = asked.get("closed", [])
        if type(serial) is not int or not isinstance(text, str):
            raise InputError("a question takes 'serial', an integer, and 'text', a string")
        if not self._neurons(muted):
            raise InputError(f"silenced must be a list of neurons from 0 to {self.neurons - 1}, not {muted!r:.80}")
        if not isinstance(closed, list) or not all(self._neurons(edge) and len(edge) == 2 for edge in closed):
            raise InputError(f"closed must be a list of pairs [to, from] of neurons, not {closed!r:.80}")
        with self._serials:
            if self._newest - LATE < serial < self._newest:
                raise Superseded
            self._newest = serial
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half of a pair is no character
        return serial, text, (tuple(sorted(set(muted))), tuple(sorted({(to, source) for to, source in closed})))

    def _neurons(self, given: Any) -> bool:
        return isinstance(given, list) and all(type(n) is int and 0 <= n < self.neurons for n in given)

    def _check(self, serial: int) -> None:
        if serial != self._newest:
            raise Superseded
