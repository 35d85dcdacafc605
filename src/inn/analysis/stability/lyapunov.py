"""Lyapunov exponents over time: do the states that one text drives come together, or fly apart?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from inn.models.sequence import SequenceModel
from inn.nn.graph import Graph
from inn.nn.modes import device_of, evaluating
from inn.nn.state import Key, State
from inn.system.errors import InputError

STRETCH = 16
"""Symbols of a stretch."""
LEAST = 2 * STRETCH
"""Symbols that exponents need."""
LOST = 100.0
"""Growth below this many rounding errors of a difference counts as gone."""


def lyapunov(
    stretches: Sequence[Callable[[Tensor], Tensor]], start: Tensor, steps: int, *, exponents: int = 1, seed: int = 0
) -> np.ndarray:
    """Finite-time Lyapunov exponents of a map that may differ from stretch to stretch of time: `[stretches, B, K]`.

    K tangent vectors are carried along with the state by the map's Jacobian, and made orthogonal again (QR) after every
    stretch; how much each has grown, ln |R_kk| / steps, is its exponent in that stretch (Benettin et al. 1980). The
    mean over stretches, after a few in which the tangents turn to where growth is largest, estimates the K largest
    exponents, per step, the largest first. Products with the Jacobian are differences over √ε of the state's size, so
    that any kernel will do; give float64. A vector that falls into rounding within one stretch has -inf, and starts
    afresh.

    Args:
        stretches: functions from states `[B x (1 + K), n]` to the states `steps` steps later, row by row; 1 + K rows to
            a start.
        start: `[B, n]`, where to begin.
        steps: steps in a stretch.
        exponents: K, at most n.
        seed: of the first tangent vectors.

    Raises `InputError` for fewer than one exponent or more than the state has numbers.

    >>> turn_and_shrink = torch.tensor([[0.0, -0.5], [0.5, 0.0]], dtype=torch.float64)
    >>> found = lyapunov([lambda x: x @ turn_and_shrink.T] * 20, torch.ones(1, 2).double(), steps=1)
    >>> round(float(found.mean()), 4)  # ln 0.5
    -0.6931
    """
    B, n = start.shape
    if not 1 <= exponents <= n:
        raise InputError(f"a state of {n} numbers has 1 to {n} Lyapunov exponents, not {exponents}")
    generator = torch.Generator().manual_seed(seed)
    fresh = torch.randn(B, n, exponents, generator=generator, dtype=torch.float64)
    tangents = torch.linalg.qr(fresh)[0].mT.to(start)
    small = torch.finfo(start.dtype).eps ** 0.5
    states, found = start[:, None], []
    for stretch in stretches:
        size = small * states.norm(dim=-1, keepdim=True).clamp_min(1.0)
        rows = torch.cat([states, states + size * tangents], 1)  # [B, 1 + K, n]
        after = stretch(rows.flatten(0, 1)).unflatten(0, (B, 1 + exponents))
        states = after[:, :1]
        q, r = torch.linalg.qr(((after[:, 1:] - states) / size).double().mT)
        grown = r.diagonal(dim1=1, dim2=2).abs()
        grown = torch.where(grown > LOST * small, grown, 0.0)
        found.append((grown.log() / steps).cpu().numpy())
        tangents = q.mT.to(start)
    return np.array(found)


def exponents_over_time(
    model: SequenceModel, tokens: Tensor, *, exponents: int = 2, stretch: int = STRETCH, seed: int = 0
) -> np.ndarray:
    """Lyapunov exponents of a model's state, driven by each row of a text `[B, T]`: `[B, K]`, in 1 / symbol.

    These are conditional exponents: all streams read the same symbols. Below 0, what was there before the text is
    forgotten; -1 / exponent is the symbols in which it falls to 1/e. What neurons recall depends on the symbols
    alone, and is no part of it. The first half of the stretches only turns the tangents, the second is measured; a
    text that is short beside the time constants shows slow directions that have not sorted themselves out.

    Raises `InputError` for a text of fewer than two stretches and for a model without a state of real numbers.
    """
    count = tokens.shape[1] // stretch
    if count < 2:
        raise InputError(
            f"Lyapunov exponents need {2 * stretch} symbols at least, not {tokens.shape[1]}; give longer blocks"
        )
    model = exact(model)
    with evaluating(model), torch.no_grad():
        inputs, start, advance = _driven(model, tokens)
        moving: list[Key] = [key for key, t in start.items() if t.is_floating_point()]
        if not moving:
            raise InputError(f"a {type(model).__name__} has no state of real numbers, so nothing can grow or shrink")
        flat = torch.cat([start[key].flatten(1) for key in moving], 1)
        K = min(exponents, flat.shape[1])
        shapes = {key: start[key].shape[1:] for key in moving}

        still = {key: t.repeat_interleave(1 + K, 0) for key, t in start.items() if key not in moving}

        def read(states: Tensor, piece: Tensor) -> Tensor:
            parts = states.split([shape.numel() for shape in shapes.values()], 1)
            full = State(
                still  # whole numbers, such as a count
                | {key: part.reshape(len(states), *shapes[key]) for key, part in zip(moving, parts, strict=True)}
            )
            after = advance(piece.repeat_interleave(1 + K, 0), full)
            return torch.cat([after[key].flatten(1) for key in moving], 1)

        stretches = [partial(read, piece=inputs[:, i * stretch : (i + 1) * stretch]) for i in range(count)]
        return lyapunov(stretches, flat, stretch, exponents=K, seed=seed)[count // 2 :].mean(0)


def exact(model: SequenceModel) -> SequenceModel:
    """A copy in float64, where the device has that: what grows or fades is not to be lost in rounding."""
    return model if device_of(model).type == "mps" else copy.deepcopy(model).double()


def _driven(model: SequenceModel, tokens: Tensor) -> tuple[Tensor, State, Callable[[Tensor, State], State]]:
    """What drives a model's state `[B, T, ...]`, the state before it, and the state after a piece of it."""
    graph = next((m for m in model.modules() if isinstance(m, Graph)), None)
    if graph is None:
        return tokens, model.initial_state(len(tokens)), lambda piece, state: model(piece, state)[1]
    heard: list[Tensor] = []  # a graph is driven by its neurons' inputs, in which all that is recalled is already
    hook = graph.round(0).register_forward_pre_hook(lambda module, args: heard.append(args[0]))
    with hook:
        model(tokens)
    calls = heard[:: graph.config.rounds if graph.config.share_rounds else 1]
    return torch.cat(calls, 1), graph.initial_state(len(tokens)), lambda piece, state: graph.run(piece, state)[1]
