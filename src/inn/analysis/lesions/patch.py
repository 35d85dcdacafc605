"""Patching: what a neuron remembers of one text, put into another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inn.models.inn import INN, RECALL
from inn.nn.modes import evaluating
from inn.nn.state import State
from inn.system.errors import InputError


def transplanted(into: State, source: State, neurons: Sequence[int]) -> State:
    """The state `into` with these neurons' memories from `source`, in every round.

    What neurons recall (tables of symbols) stays that of `into`. Raises `InputError` where the states are of different
    models or numbers of streams, and for neurons that they do not have.

    >>> a, b = State({(0, "ssm"): torch.zeros(1, 3, 2)}), State({(0, "ssm"): torch.ones(1, 3, 2)})
    >>> transplanted(a, b, [1])[0, "ssm"][0, :, 0].tolist()
    [0.0, 1.0, 0.0]
    """
    shapes = [{key: tuple(t.shape) for key, t in state.items()} for state in (into, source)]
    if shapes[0] != shapes[1]:
        raise InputError("the two states are of different models or numbers of streams; give two of the same")
    count = min((shape[1] for shape in shapes[0].values()), default=0)
    for n in neurons:
        if not 0 <= n < count:
            raise InputError(f"there is no neuron {n} to patch among {count}; the first is 0")
    patched = {}
    for (r, name), t in into.items():
        patched[r, name] = t
        if r != RECALL:
            patched[r, name] = t.clone()
            patched[r, name][:, list(neurons)] = source[r, name][:, list(neurons)]
    return State(patched)


@dataclass(frozen=True)
class Patch:
    """What a patch changes in the predictions of the symbols that follow.

    Attributes:
        divergence: `[T]` bits, how far the predictions move: KL(with the patch ‖ without), after 1, 2, ... symbols.
        plain: `[T, vocab]` probabilities without the patch.
        patched: `[T, vocab]` with it.
    """

    divergence: Tensor
    plain: Tensor
    patched: Tensor


@torch.no_grad()
def patch(model: INN, into: Tensor, source: Tensor, then: Tensor, neurons: Sequence[int]) -> Patch:
    """Let a model read `into`, give these neurons the memories they have after `source`, and read `then`.

    Args:
        model: an INN.
        into, source: symbols `[n]`, `[m]`, each read from a fresh state.
        then: symbols `[T]` that follow; the predictions after each of them are compared.
        neurons: whose memories are patched.

    Raises `InputError` for an empty text and for neurons that the model does not have.

    >>> model = INN(vocab=5, neurons=3, width=8, rounds=1, recall="none")
    >>> text = torch.arange(12) % 5
    >>> patch(model, text, text, text[:4], [0]).divergence.tolist()  # its own memory back: nothing changes
    [0.0, 0.0, 0.0, 0.0]
    """
    for name, text in (("into", into), ("source", source), ("then", then)):
        if text.ndim != 1 or not len(text):
            raise InputError(f"`{name}` must be one text of at least a symbol, not {list(text.shape)}")
    with evaluating(model):
        _, state = model(into[None])
        _, other = model(source[None])
        plain = model(then[None], state)[0][0].double().log_softmax(-1)
        patched = model(then[None], transplanted(state, other, neurons))[0][0].double().log_softmax(-1)
    divergence = (patched.exp() * (patched - plain)).sum(-1).clamp_min(0) / math.log(2)
    return Patch(divergence, plain.exp(), patched.exp())
