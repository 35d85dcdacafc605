"""Roll-outs: the states of a model that noise drives, whole or with some neurons' states scaled after every step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inn.analysis.dynamics.flat import Flat, neurons_of
from inn.models.signal import SignalModel
from inn.nn.modes import device_of, evaluating
from inn.nn.state import Key, State
from inn.system.errors import InputError


@dataclass(frozen=True)
class Rollout:
    """What a roll-out went through.

    Attributes:
        states: `[B, steps + 1, n]`, the state before the first step and after each, lesions included.
        outputs: `[B, steps, ...]`, what the model told at each step.
        inputs: `[B, steps, ...]`, what drove it.
        model: whose they are.
        lesion: what each neuron's state was multiplied by after a step.
        last: the state after the last step, from which `rollout(..., start=)` goes on.
        flat: where in a vector of n numbers each part of the state is.
    """

    states: Tensor
    outputs: Tensor
    inputs: Tensor
    model: nn.Module
    lesion: Mapping[int, float]
    last: State
    flat: Flat

    @property
    def neurons(self) -> Tensor:
        """`[n]`, whose each number of `states` is; -1: nobody's."""
        return self.flat.neurons

    def part(self, r: int, name: str) -> Tensor:
        """A part of the state at every step, `[B, steps + 1, N, ...]`; raises `InputError` for one that is not there.

        >>> from inn import Graph
        >>> path = rollout(Graph(neurons=3, width=4, rounds=1, memory="gru"), steps=5)
        >>> path.part(0, "h").shape
        torch.Size([1, 6, 3, 4])
        """
        key: Key = (r, name)
        if key not in self.flat.parts:
            raise InputError(
                f"the state has no part {key} of real numbers; it has {', '.join(map(str, self.flat.parts))}"
            )
        first = 0
        for other, shape in self.flat.parts.items():
            if other == key:
                break
            first += shape.numel()
        return self.states[..., first : first + self.flat.parts[key].numel()].unflatten(-1, self.flat.parts[key])


def rollout(
    model: nn.Module,
    steps: int,
    noise: float = 0.0,
    *,
    lesion: Mapping[int, float] | None = None,
    inputs: Tensor | None = None,
    start: State | None = None,
    spread: float = 0.0,
    streams: int = 1,
    seed: int = 0,
) -> Rollout:
    """Drive a model with noise, step by step, and keep its states (after arXiv 2510.25674).

    A lesion multiplies all that a neuron carries by a factor after every step: 0 silences its memory, 2 doubles it.
    For one that silences what it says at the step itself, run this inside `silenced`.

    Args:
        model: an `inn.Graph`, a model of signals or of symbols, or any module that is called with x `[B, T, F]` and a
            state and has `initial_state(batch)` and `features`.
        steps: how many.
        noise: standard deviation of the normal noise on every number of the input, of a signal in units of its own.
        lesion: factors by neuron; those not named stay as they are.
        inputs: `[steps, ...]` or `[B, steps, ...]`, what is read besides the noise; zeros (a signal's mean) when not
            given. A model of symbols needs it, and takes no noise.
        start: the state to begin with; the model's own first one when not given.
        spread: standard deviation of normal noise on the numbers of the start.
        streams: B, side by side with noise of their own.
        seed: of all noise.

    Raises:
        InputError: for fewer than one step or stream, noise that is no number >= 0, neurons that are not there, inputs
            of other steps or streams, a model without a state, and a model of symbols without inputs or with noise.

    >>> from inn import Graph
    >>> graph = Graph(neurons=3, width=4, rounds=1, memory="elman")
    >>> path = rollout(graph, steps=20, noise=1.0, lesion={2: 0.0}, streams=8)
    >>> path.states.shape, float(path.part(0, "h")[:, 1:, 2].abs().max())
    (torch.Size([8, 21, 12]), 0.0)
    """
    if steps < 1 or streams < 1:
        raise InputError(f"a roll-out needs a step and a stream or more, not {steps} and {streams}")
    for name, value in (("noise", noise), ("spread", spread)):
        if not 0 <= value < math.inf:
            raise InputError(f"{name} must be a standard deviation of 0 or more, not {value}")
    if not callable(getattr(model, "initial_state", None)):
        raise InputError(f"a {type(model).__name__} has no state that could be followed; give a graph or a model")
    generator, device = torch.Generator().manual_seed(seed), device_of(model)
    with evaluating(model), torch.no_grad():
        driven = _driven(model, inputs, steps, streams, noise, generator)
        state = model.initial_state(streams) if start is None else start  # type: ignore[operator]
        state.check_batch(streams)
        count = neurons_of(model, state)
        flat, lesion = Flat(state, count), dict(lesion or {})
        if unknown := [n for n in lesion if not 0 <= n < count]:
            raise InputError(f"there is no neuron {unknown[0]} to scale among {count}; the first is 0")
        factor = torch.ones(flat.size, dtype=flat.of(state).dtype)
        for n, value in lesion.items():
            factor[flat.neurons == n] = value
        factor = factor.to(device)
        vectors = flat.of(state)
        if spread:
            vectors = vectors + spread * torch.randn(vectors.shape, generator=generator).to(vectors)
        states, outputs = [vectors], []
        for t in range(steps):
            y, state = model(driven[:, t : t + 1], flat.state(states[-1], state))
            states.append(flat.of(state) * factor)
            outputs.append(y[:, 0])
        last = flat.state(states[-1], state)
    return Rollout(torch.stack(states, 1), torch.stack(outputs, 1), driven, model, lesion, last, flat)


def reads_symbols(model: nn.Module) -> bool:
    """Whether a model reads symbols, and not numbers."""
    return bool(getattr(model, "symbols", False)) and not hasattr(model, "features")


def still(model: nn.Module) -> Tensor:
    """What a model of numbers reads when nothing happens, `[F]`: zeros, or a signal's mean."""
    if isinstance(model, SignalModel):
        return model.input_mean.detach()
    config = getattr(model, "config", None)
    width = model.features if hasattr(model, "features") else config.input_width if config is not None else 0
    like = next(model.parameters())
    return like.new_zeros(int(width))  # type: ignore[arg-type]


def _driven(
    model: nn.Module, inputs: Tensor | None, steps: int, streams: int, noise: float, generator: torch.Generator
) -> Tensor:
    """What a model reads, `[B, steps, ...]`."""
    if reads_symbols(model):
        if inputs is None or noise:
            raise InputError(
                f"a {type(model).__name__} reads symbols, which noise cannot be added to; give the symbols as inputs, "
                "and leave noise out"
            )
        given = inputs
    else:
        rest = still(model)
        given = rest.expand(steps, -1) if inputs is None else inputs.to(rest)
    given = given if given.ndim == (2 if reads_symbols(model) else 3) else given.expand(streams, *given.shape)
    if given.shape[:2] != (streams, steps):
        raise InputError(
            f"inputs must be [steps, ...] or [streams, steps, ...] of {streams} streams and {steps} steps, "
            f"not {list(given.shape)}"
        )
    if noise:
        scale = model.input_scale if isinstance(model, SignalModel) else 1.0
        given = given + noise * scale * torch.randn(given.shape, generator=generator).to(given)
    return given
