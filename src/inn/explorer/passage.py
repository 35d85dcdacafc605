"""A passage as the model reads it: surprise, predictions, routing and activity at every symbol, compactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.analysis.measures.communities import communities
from inn.analysis.measures.degree import shares
from inn.analysis.recording.record import writing_on
from inn.analysis.recording.trace import trace
from inn.data.base import Vocabulary
from inn.explorer.pack import DENSE_NEURONS, LARGE, LEAST, STRONGEST, in_steps, pack_dense, pack_strongest, packed
from inn.inference.evaluate import predictions
from inn.models.sequence import SequenceModel
from inn.nn.connectivity import Connectivity
from inn.nn.graph import Graph
from inn.nn.modes import as_tokens, device_of
from inn.nn.state import State
from inn.nn.tape import Tape
from inn.system.errors import InputError

SYMBOLS = 2000
"""Symbols of a passage, by default."""
ROOM = 8_600_000
"""Characters for what was recorded of one run's passage: with all else its page stays below 10 MB."""
PREDICTIONS = 5
MOST_GROUPS, NEAREST = 128, 16
"""Groups of a large graph, the smallest of more are one; sources of each neuron that they are found by."""
_NUMBERS = 2**22
"""Routing weights that are held at once while the passage is read."""


def read_passage(
    model: SequenceModel,
    symbols: np.ndarray,
    *,
    before: np.ndarray | None = None,
    title: str = "",
    room: int = ROOM,
) -> dict[str, Any]:
    """Read symbols with a model, without dropout, and return what happened at each of them as JSON-ready data.

    At symbol t, which has just been read: `bits[t]`, the surprise at it (bits; None for the first, where nothing was
    read before); `top`, the likeliest next symbols and their probabilities; and by round, routing as the share of what
    a neuron hears that comes from each source (heads averaged, rows normalised to sum to 1, sizes where weights may be
    negative), activity in units of its round's mean over the passage (`inn.analysis.relative`), and gates.

    Args:
        symbols: `[T]` integers, T >= 2, of the model's vocabulary.
        before: symbols read first, not shown; the state is carried.
        title: what the passage is, for people.
        room: characters for what is recorded; see `inn.explorer.pack`. Where the strongest edge of each neuron takes
            more, the passage is cut, and `symbols` of the result says where.

    Raises `InputError` for fewer than two symbols, a model without a vocabulary, and one without a graph of neurons.

    >>> from inn import INN
    >>> from inn.data.vocabulary import build_vocabulary
    >>> model = INN(vocab=3, neurons=2, width=8, rounds=1)
    >>> model.vocabulary = build_vocabulary("characters", "abc")
    >>> read_passage(model, np.array([0, 1, 2]))["text"]
    ['a', 'b', 'c']
    """
    if len(symbols) < 2:
        raise InputError(f"a passage of {len(symbols)} symbols is too short to look at; it takes at least 2")
    if model.vocabulary is None:
        raise InputError("this model has no vocabulary to show text with; load a run, or set model.vocabulary")
    reading = Reading(model, model.vocabulary)
    reading.skip(np.asarray([] if before is None else before))
    reading.read(symbols)
    return {"title": title, "before": 0 if before is None else len(before), **reading.facts(symbols, room)}


class Reading:
    """What has been kept so far of a passage that is read piece by piece.

    `state`: that of one stream before the first symbol; None starts afresh.
    """

    def __init__(self, model: SequenceModel, vocabulary: Vocabulary, state: State | None = None):
        with writing_on(model, Tape(())):  # says so where there is no graph
            self.graph = next(m for m in model.modules() if isinstance(m, Graph))
        self.model, self.vocabulary = model, vocabulary
        first = self.graph.round(0)
        self.neurons, self.rounds = self.graph.config.neurons, self.graph.config.rounds
        self.channels = (
            ["activity"]
            + ["routing"] * (first.router is not None)
            + ["gate"] * ((first.gate or self.graph.gate) is not None)
        )
        self.heads = 1 if first.router is None else first.router.heads
        self.kept: dict[str, list[np.ndarray]] = {name: [] for name in (*self.channels, "sources")}
        self.heard: Tensor | None = None  # shares summed over symbols and rounds, of all edges or of those `listed`
        self.listed: Tensor | None = None  # [N_to, K], where what is kept are places in it
        self.listed_sources: Tensor | None = None
        self.bits: list[float | None] = []
        self.top: list[Tensor] = []
        self.shares: list[Tensor] = []
        self.state = state
        self.expected: Tensor | None = None  # log-probabilities of the next symbol, [V]

    def skip(self, symbols: np.ndarray) -> None:
        """Read symbols that are not shown."""
        windows = as_tokens(symbols[None], device_of(self.model)).split(256, 1) if len(symbols) else ()
        for logits, state in predictions(self.model, windows, self.state):
            self.expected, self.state = logits[0, -1].log_softmax(-1), state

    def read(self, symbols: np.ndarray) -> None:
        """Read the next symbols of the passage."""
        tokens = as_tokens(symbols, device_of(self.model))
        for at, logits in self.run(tokens):
            self._surprise(tokens[at], logits.log_softmax(-1))

    def run(self, given: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Read `[T]` or `[T, F]` window by window and keep what is recorded: where, and what the model says there."""
        edges = self.graph.edges
        sources = self.neurons if edges is None else edges.sources.shape[1]
        size = max(1, min(256, _NUMBERS // (self.rounds * self.heads * self.neurons * sources)))
        for at in range(0, len(given), size):
            here = slice(at, at + size)
            with trace(self.model, *self.channels) as tape:
                logits, self.state = next(predictions(self.model, [given[None, here]], self.state))
            for name in self.channels:
                if name == "routing" and (listed := tape.listed()) is not None:
                    weights, sources = (t.cpu() for t in listed)
                    self._keep_routing(shares(weights.float().transpose(0, 1).mean(2).abs()), sources)
                    continue
                values = tape.values(name).float().transpose(0, 1).cpu()  # [t, R, ...]
                if name == "routing":
                    self._keep_routing(shares(values.mean(2).abs()))
                else:
                    self.kept[name].append(values.numpy())
            yield here, logits[0]

    def _keep_routing(self, heard: Tensor, listed: Tensor | None = None) -> None:
        """Of many neurons the strongest edges at once: all of them, for a whole passage, do not fit in memory.

        `heard`: shares `[t, R, N_to, N_from]`, or of edges `listed` `[t, R, N_to, K]`, whose sources are `[N_to, K]`.
        """
        total = heard.double().sum((0, 1))
        self.heard, self.listed_sources = total if self.heard is None else self.heard + total, listed
        if self.neurons > DENSE_NEURONS:
            values, sources = heard.topk(min(STRONGEST, heard.shape[-1]))
            self.listed = listed
            few = listed is not None and listed.shape[1] <= 256
            if listed is not None and not few:
                sources, self.listed = listed.expand_as(heard).gather(-1, sources), None
            self.kept["sources"].append(sources.numpy().astype(np.uint8 if few else "<u2"))
            heard = values
        self.kept["routing"].append(heard.numpy().astype(np.float16))

    def _surprise(self, tokens: Tensor, expected: Tensor) -> None:
        if self.expected is None:
            self.bits.append(None)
            told, read = expected[:-1], tokens[1:]
        else:
            told, read = torch.cat([self.expected[None], expected[:-1]]), tokens
        self.bits += (-told.gather(1, read[:, None])[:, 0] / math.log(2)).tolist()
        best = expected.exp().topk(min(PREDICTIONS, expected.shape[1]))
        self.top.append(best.indices.cpu())
        self.shares.append(best.values.cpu())
        self.expected = expected[-1]

    def facts(self, symbols: np.ndarray, room: int = ROOM) -> dict[str, Any]:
        """What there is to show of all `symbols` that were read, see `read_passage`."""
        recorded, shown = self.recorded(len(symbols), room)
        top, shares = torch.cat(self.top)[:shown], torch.cat(self.shares)[:shown]
        used, places = np.unique(np.concatenate([symbols[:shown], top.flatten().numpy()]), return_inverse=True)
        counted = [b for b in self.bits[:shown] if b is not None]
        return {
            "symbols": shown,
            "asked": len(symbols),
            "unit": self.vocabulary.unit,
            "text": _pieces(self.vocabulary, symbols[:shown]),
            "labels": [self.vocabulary.symbol(int(i)) for i in used],
            "ids": places[:shown].tolist(),
            "bits": [None if b is None else round(b, 3) for b in self.bits[:shown]],
            "mean_bits": sum(counted) / len(counted),
            "top": {
                "each": top.shape[1],
                "ids": places[shown:].tolist(),
                "shares": [round(p, 4) for p in shares.flatten().tolist()],
            },
            "neurons": self.neurons,
            "rounds": self.rounds,
            **self.groups(),
            **recorded,
        }

    def groups(self) -> dict[str, Any]:
        """`groups` of neurons that hear one another, where there are too many neurons to show one by one."""
        if self.neurons <= LARGE or self.heard is None:
            return {}
        heard, sources = self.heard, self.listed_sources
        if sources is None:  # of all edges the strongest ones tell who belongs together
            heard, sources = heard.topk(NEAREST)
        found = communities(Connectivity(heard[None], 1, sources), draws=0)["groups"]
        if len(found) <= MOST_GROUPS:
            return {"groups": found}
        rest = sorted(n for group in found[MOST_GROUPS - 1 :] for n in group)
        return {"groups": [*found[: MOST_GROUPS - 1], rest]}

    def recorded(self, symbols: int, room: int) -> tuple[dict[str, Any], int]:
        """What the tape has of the first symbols, as many as fit; and how many those are."""
        kept = {name: np.concatenate(parts)[:symbols] for name, parts in self.kept.items() if parts}
        activity = kept["activity"] / np.maximum(kept["activity"].mean((0, 2), keepdims=True), 1e-30)
        scale = activity.max((0, 2))
        data = packed(in_steps(activity, scale[:, None]))
        found: dict[str, Any] = {"activity": {"scale": scale.tolist(), "data": data}, "gate": None, "routing": None}
        if "gate" in kept:
            found["gate"] = {"data": packed(in_steps(kept["gate"], np.array(1.0)))}
        if "routing" in kept:
            found["routing"] = self._routing(kept, room - _length(found))
        if _length(found) > room and symbols > 2:
            return self.recorded(max(2, int(0.98 * symbols * room / _length(found))), room)
        return found, symbols

    def _routing(self, kept: dict[str, np.ndarray], room: int) -> dict[str, Any]:
        shares = kept["routing"].astype(np.float32)
        if "sources" in kept:
            listed = None if self.listed is None else self.listed.numpy()
            least = LEAST if self.neurons > LARGE else 1
            return pack_strongest(shares, kept["sources"], room, listed=listed, least=least)
        if dense := pack_dense(shares, room):
            return dense
        values, sources = torch.from_numpy(shares).topk(min(STRONGEST, self.neurons))
        return pack_strongest(values.numpy(), sources.numpy(), room)


def _length(found: dict[str, Any]) -> int:
    return sum(len(part.get(name, "")) for part in found.values() if part for name in ("data", "sources"))


def _pieces(vocabulary: Vocabulary, symbols: np.ndarray) -> list[str]:
    """What each symbol adds to the text: its name where that is nothing, or nothing that can be shown."""
    decoder, pieces = vocabulary.decoder(), []
    for i in symbols.tolist():
        piece = decoder.feed(i)
        plain = piece and all(c.isprintable() or c == "\n" for c in piece)
        pieces.append(piece if plain else vocabulary.symbol(i))
    return pieces
