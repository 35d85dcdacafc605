"""What a lesion costs: bits per symbol, overall and by class of the symbol predicted, with an interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inn.analysis.controls.paired import paired_difference
from inn.analysis.lesions.lesion import is_forgetful, silenced
from inn.analysis.recording.stretches import Neurons, Reading, bits_of, entering, recalled
from inn.nn.modes import evaluating
from inn.system.errors import InputError

BLOCKS = 32
"""Blocks of the bootstrap; where there are more stretches, neighbours share one."""

Lesion = Callable[[], AbstractContextManager[None]]
"""Makes the `with` block in which the model is lesioned."""


@dataclass(frozen=True)
class LesionCost:
    """What a lesion costs, in bits per symbol; below 0 where the model does better without.

    Attributes:
        bits: more bits per symbol than the whole model needs, over all symbols.
        low: the lower end of its 95 % interval, by a bootstrap over blocks of text.
        high: its upper end.
        by_class: the same over the symbols to be predicted of each class.
    """

    bits: float
    low: float
    high: float
    by_class: dict[str, float]


def bits_under(
    model: Neurons, text: Reading, lesions: Sequence[Lesion], report: Callable[[int, int], None] | None = None
) -> Tensor:
    """Bits of every symbol of a text under each lesion, the same symbols for all: `[lesions, K, T]` float32.

    Each lesion holds from a fresh state on, through the warm-up: what others remember of a silenced neuron is gone too.
    Only what the model can recall was read before it. `report` is called with (symbols done, symbols to do).

    >>> import torch
    >>> from inn import INN
    >>> from inn.analysis.recording.stretches import stretches
    >>> text = stretches(np.arange(600) % 5, 300)
    >>> model = INN(vocab=5, neurons=3, width=8, rounds=1, recall="none")
    >>> found = bits_under(model, text, [nullcontext, lambda: silenced(model, [1])])
    >>> found.shape
    torch.Size([2, 16, 18])
    """
    done, total = 0, len(lesions) * text.size
    found = []
    with evaluating(model):
        for part in text.groups():
            tables = recalled(model, part)
            whole, rows = entering(model, part, tables), []
            for lesion in lesions:
                with lesion():
                    x = entering(model, part, tables) if is_forgetful(model) else whole
                    rows.append(bits_of(model, part, x))
                done += part.size
                if report is not None:
                    report(done, total)
            found.append(torch.stack(rows))
    return torch.cat(found, 1)


def cost(whole: Tensor, lesioned: Tensor, classes: dict[str, np.ndarray] | None = None) -> LesionCost:
    """What a lesion costs, from bits of the same symbols `[K, T]` with and without it; K stretches are the blocks.

    `classes`: class -> `[K x T]` bool of the symbols predicted. The interval is that of `paired_difference`: the same
    stretches are drawn for both. Raises `InputError` where the shapes differ.

    >>> found = cost(torch.ones(4, 3), torch.tensor([[1.0, 1.0, 4.0]]).expand(4, 3), {"last": np.arange(12) % 3 == 2})
    >>> found.bits, found.low, found.by_class
    (1.0, 1.0, {'last': 3.0})
    """
    if whole.shape != lesioned.shape:
        raise InputError(f"bits {list(whole.shape)} and {list(lesioned.shape)} are not of the same symbols")
    blocks = [torch.stack([mean_bits(part) for part in bits.tensor_split(min(BLOCKS, len(bits)))])
              for bits in (whole, lesioned)]  # fmt: skip
    blocks = [means[~blocks[0].isnan()] for means in blocks]  # of a task, some may have nothing that counts
    found = paired_difference([blocks[0].tolist()], [blocks[1].tolist()])
    difference = (lesioned.double() - whole.double()).flatten().numpy()
    counts = ~np.isnan(difference)
    by_class = {name: float(difference[at].mean()) for name, of in (classes or {}).items() if (at := of & counts).any()}
    return LesionCost(float(difference[counts].mean()), found.low, found.high, by_class)


def mean_bits(bits: Tensor) -> Tensor:
    """The mean over the targets that count, `[]` float64; NaN where there are none."""
    bits = bits.double()
    return bits[~bits.isnan()].mean() if bool(bits.isnan().any()) else bits.mean()


def worth_of(model: Neurons, text: Reading) -> Callable[[frozenset[int]], float]:
    """Minus the bits per symbol that neurons reach together, all others silenced: what `importance` asks for."""
    everyone = frozenset(range(model.config.neurons))
    with evaluating(model):
        parts = [(part, entering(model, part, recalled(model, part))) for part in text.groups()]

    def worth(team: frozenset[int]) -> float:
        with evaluating(model), silenced(model, sorted(everyone - team)):
            bits = [bits_of(model, part, x).double() for part, x in parts]
        total = sum(float(b.nansum() if part.resets is not None else b.sum()) for (part, _), b in zip(parts, bits))
        return -total / sum(int((~b.isnan()).sum()) for b in bits)

    return worth


unlesioned: Lesion = nullcontext
"""The lesion that leaves the model whole."""
