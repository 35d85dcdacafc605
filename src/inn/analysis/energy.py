"""What a symbol would cost on a chip that adds where it need not multiply: operations counted, energies assumed.

A map of spikes adds a weight for each spike that it is given; all else multiplies. Only a chip that can skip what is
silent gains by it: on a CPU or a GPU a spiking model costs what any other of its size does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inn.models.sequence import SequenceModel
from inn.nn.modes import evaluating
from inn.nn.population import NeuronLinear
from inn.nn.spikes import code_of, counts, sent, spiking_maps

MULTIPLY_ADD, ADD, BYTE = 4.6, 0.9, 0.0
"""Picojoules of a multiply-add and an addition of 32-bit floating point, and of a byte moved, by default."""
SOURCE = "45 nm, 32-bit floating point: Horowitz, ISSCC 2014"
"""Where the first two are from: 3.7 pJ for a multiplication and 0.9 for an addition."""


@dataclass(frozen=True)
class Operations:
    """What a model does for a symbol, on average over what it read.

    Attributes:
        dense: multiply-adds if all maps were given numbers.
        multiply_adds: those that are left where some maps are given spikes, with the coding of counts.
        additions: of weights, one for each spike and each result that it goes into.
        rate: spikes per input of a spiking map and step; None where there is no such map.
        silent: share of those inputs that send no spike.
        moved: bytes read and written at 32 bits: a weight for each operation, and the state twice.
    """

    dense: float
    multiply_adds: float
    additions: float
    rate: float | None
    silent: float | None
    moved: float

    def picojoules(
        self, multiply_add: float = MULTIPLY_ADD, add: float = ADD, byte: float = BYTE, bits: int = 32
    ) -> float:
        """Energy per symbol; all of it in proportion to the bits of a number.

        >>> Operations(10.0, 4.0, 5.0, 0.5, 0.5, 0.0).picojoules(4.6, 0.9)
        22.9
        """
        return (self.multiply_adds * multiply_add + self.additions * add + self.moved * byte) * bits / 32


@torch.no_grad()
def operations(model: SequenceModel, given: Tensor, *, mask: Tensor | None = None, code: str = "ternary") -> Operations:
    """Count what a model does while it reads.

    Args:
        given: what it reads, `[B, T]` symbols or `[B, T, F]`; each row from a fresh state.
        mask: `[B, T]` bool, the steps that count; None: all.
        code: how counts are sent as spikes, one of `inn.nn.spikes.CODES`.

    Example: ``operations(model, tokens).picojoules()``
    """
    live = torch.ones(given.shape[:2], dtype=torch.bool, device=given.device) if mask is None else mask
    tally = _Tally(live, code)
    with evaluating(model), ExitStack() as hooks:
        for module in dict.fromkeys(m for m in model.modules() if code_of(m) is not None):
            hooks.callback(module.register_forward_pre_hook(tally.coded, prepend=True).remove)
        for module in dict.fromkeys(spiking_maps(model)):
            hooks.callback(module.register_forward_pre_hook(tally.spiking).remove)
        model(given, mask=mask)
    symbols = max(int(live.sum()), 1)
    dense = sum(model.flops().values()) / 2
    left = dense + (tally.coding - tally.replaced) / symbols
    adds = tally.additions / symbols
    state = sum(t.numel() for t in model.initial_state(1).values() if t.is_floating_point())
    rates = (None, None) if not tally.inputs else (tally.spikes / tally.inputs, tally.silent / tally.inputs)
    return Operations(dense, left, adds, *rates, 4 * (left + adds + 2 * state))


class _Tally:
    """What the maps of a model that are given spikes have been given."""

    def __init__(self, live: Tensor, code: str):
        self.live, self.code = live, code
        self.replaced = self.additions = self.coding = 0.0
        self.inputs = self.spikes = self.silent = 0

    def coded(self, module: NeuronLinear, args: tuple[Any, ...]) -> None:
        code = code_of(module)
        assert code is not None
        x = args[0][self.live]
        rows, readers = self._add(module, args[0], sent(counts(x, code.k)[0], self.code))
        # A division for each number that is coded, and the unit times each result.
        self.coding += rows * (x.shape[-1] + readers * module.weight.shape[1])

    def spiking(self, module: NeuronLinear, args: tuple[Any, ...]) -> None:
        self._add(module, args[0], (args[0][self.live] != 0).long())

    def _add(self, module: NeuronLinear, x: Tensor, spikes: Tensor) -> tuple[int, float]:
        """Add what a map does with spikes `[L, N, I]` of what it is given, `[B, T, N, I]`: its rows and their readers."""
        populations, outputs, inputs = module.weight.shape
        rows, readers = spikes.numel() // inputs, max(populations, x.shape[2]) / x.shape[2]
        fired = int(spikes.sum())
        self.replaced += rows * readers * inputs * outputs
        self.additions += fired * readers * outputs
        self.inputs += spikes.numel()
        self.spikes += fired
        self.silent += int((spikes == 0).sum())
        return rows, readers


def firing(model: nn.Module, read: Callable[[], Any]) -> dict[str, float]:
    """The share of units that fire in each spiking memory, by its path, while `read` lets the model read.

    Example: ``firing(model, lambda: model(tokens))``
    """
    found: dict[str, list[Tensor]] = {}
    with ExitStack() as hooks:
        for path, module in model.named_modules():
            for name in getattr(module, "spiking", ()):

                def hook(_: nn.Module, args: tuple[Any, ...], path: str = path) -> None:
                    found.setdefault(path, []).append((args[0] != 0).double().mean())

                hooks.callback(getattr(module, name).register_forward_pre_hook(hook).remove)
        read()
    return {path: float(torch.stack(rates).mean()) for path, rates in found.items()}
