"""The automaton that a model of symbols has become, or one of its neurons, and which neurons carry its state."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.analysis.recording.trace import trace
from inn.analysis.rules.automaton import Answers, Automaton, automaton
from inn.analysis.rules.explain import active
from inn.analysis.rules.speech import listening
from inn.data.base import Vocabulary
from inn.models.inn import INN
from inn.nn.modes import as_tokens, device_of, evaluating
from inn.system.errors import InputError

SYMBOLS = 16
"""Symbols of an alphabet, at most, of which an automaton is looked for."""
_TOGETHER = 2**14
"""Symbols that are read at once."""


def answers_of(model: INN) -> Answers:
    """What a model tells at every step of strings, `[B, T]` -> `[B, T]`: its most likely symbol."""

    @torch.no_grad()
    def told(strings: np.ndarray) -> np.ndarray:
        with evaluating(model):
            return np.concatenate(
                [model(as_tokens(rows, device_of(model)))[0].argmax(-1).cpu().numpy() for rows in _few(strings)]
            )

    return told


def activity_of(model: INN, neuron: int, round: int) -> Answers:
    """What a neuron does at every step of strings, `[B, T]` -> `[B, T]`: the root mean square of what it adds."""

    @torch.no_grad()
    def told(strings: np.ndarray) -> np.ndarray:
        found = []
        with evaluating(model):
            for rows in _few(strings):
                with trace(model, "activity") as tape:
                    model(as_tokens(rows, device_of(model)))
                found.append(tape.values("activity")[round, :, neuron].view(rows.shape).cpu().numpy())
        return np.concatenate(found)

    return told


def _few(strings: np.ndarray) -> list[np.ndarray]:
    return np.array_split(strings, max(1, -(-strings.size // _TOGETHER)))


def automaton_of(
    model: INN, vocabulary: Vocabulary, neuron: tuple[int, int] | None = None, **options: Any
) -> Automaton:
    """The minimal automaton that tells what a model tells, or does what one of its neurons does.

    Args:
        model: that reads few symbols, each string from a fresh state.
        vocabulary: what they are called.
        neuron: and the round: the automaton tells where it is active, in the top fifth of random strings.
        options: see `automaton`.

    Raises `InputError` where no automaton of so many states does it, and for an alphabet of more than 16 symbols.

    >>> from inn.data.names import Names
    >>> automaton_of(INN(vocab=2, neurons=1, width=4, rounds=1, memory="none", recall="none"), Names("01")).states
    1
    """
    if vocabulary.size > SYMBOLS:
        raise InputError(f"an automaton over {vocabulary.size} symbols is too large; give a model that reads up to 16")
    names = [vocabulary.symbol(i) for i in range(vocabulary.size)]
    if neuron is None:
        return automaton(answers_of(model), names, names, **options)
    activity = activity_of(model, *neuron)
    rng = np.random.default_rng(options.get("seed", 0))
    some = activity(rng.integers(0, vocabulary.size, (64, 256)))
    threshold = float(active(torch.from_numpy(some).view(-1, 1))[1])
    over = bool((some > threshold).any())
    level = threshold if over else np.nextafter(np.float32(threshold), np.float32(-np.inf))
    return automaton(lambda strings: (activity(strings) > level).astype(np.int64), names, ["rests", "fires"], **options)


@torch.no_grad()
def carriers(model: INN, found: Automaton, *, strings: int = 64, length: int = 64, seed: int = 0) -> list[float]:
    """How well each neuron alone tells the state of an automaton: the share of steps, of 1, on other strings.

    Its state is told by which mean of what the neuron says to the readout is nearest.

    >>> one = Automaton(np.zeros((1, 2), np.int64), np.zeros((1, 2), np.int64), ("0", "1"), ("0",))
    >>> carriers(INN(vocab=2, neurons=2, width=4, rounds=1, recall="none"), one, strings=4, length=8)
    [1.0, 1.0]
    """
    rng = np.random.default_rng([seed, 1])
    asked = rng.integers(0, len(found.symbols), (2, strings, length))
    says: list[Tensor] = []
    for half in asked:
        with evaluating(model), listening(model) as said:
            model(as_tokens(half, device_of(model)))
        says.append(said()[-1])  # [B x T, N, D]
    states = [torch.from_numpy(found.following[found.visited(half), half]).flatten() for half in asked]
    means = torch.stack([says[0][states[0] == s].mean(0) for s in range(found.states)]).nan_to_num(nan=torch.inf)
    away = (says[1][:, None] - means).square().sum(-1)  # [B x T, S, N]
    return (away.argmin(1) == states[1][:, None]).double().mean(0).tolist()
