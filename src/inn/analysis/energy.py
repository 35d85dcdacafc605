"""What a symbol would cost on a chip that adds where it need not multiply: operations counted, energies assumed.

A map of spikes adds a weight for each spike that it is given; all else multiplies. Only a chip that can skip what is
silent gains by it: on a CPU or a GPU a spiking model costs what any other of its size does.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.data.dataset import Dataset
from inn.data.names import Channels, Names
from inn.data.task_data import TaskData
from inn.data.text import file_symbols
from inn.models.sequence import SequenceModel
from inn.nn.modes import as_tokens, evaluating
from inn.nn.population import NeuronLinear
from inn.nn.spikes import CODES, code_of, counts, sent, spiking_maps, steps
from inn.runs.directory import Run
from inn.runs.exported import is_exported
from inn.runs.load import load, load_with_data, path_of
from inn.system.errors import InputError, lookup
from inn.system.report import Report, nobody

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
        state: numbers of the state that a stream carries.
        steps: of time, in which the largest counts are sent; 1 where nothing is counted.
    """

    dense: float
    multiply_adds: float
    additions: float
    rate: float | None
    silent: float | None
    state: int
    steps: int = 1

    def picojoules(
        self, multiply_add: float = MULTIPLY_ADD, add: float = ADD, byte: float = BYTE, bits: int = 32
    ) -> float:
        """Energy per symbol; all of it in proportion to the bits of a number.

        A weight is moved for each operation, and the state twice, in and out.

        >>> Operations(10.0, 4.0, 5.0, 0.5, 0.5, 0).picojoules(4.6, 0.9)
        22.9
        """
        moved = 4 * (self.multiply_adds + self.additions + 2 * self.state)
        return (self.multiply_adds * multiply_add + self.additions * add + moved * byte) * bits / 32

    def without_spikes(self) -> Operations:
        """What the same model would do if all its maps were given numbers."""
        return replace(self, multiply_adds=self.dense, additions=0.0, rate=None, silent=None, steps=1)


@torch.no_grad()
def operations(model: SequenceModel, given: Tensor, *, mask: Tensor | None = None, code: str = "ternary") -> Operations:
    """Count what a model does while it reads.

    Args:
        given: what it reads, `[B, T]` symbols or `[B, T, F]`; each row from a fresh state.
        mask: `[B, T]` bool, the steps that count; None: all.
        code: how counts are sent as spikes, one of `inn.nn.spikes.CODES`.

    Raises `InputError` for an unknown code.

    Example: ``operations(model, tokens).picojoules()``
    """
    lookup("spike code", code, CODES)
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
    return Operations(dense, left, adds, *rates, state, tally.steps)


class _Tally:
    """What the maps of a model that are given spikes have been given."""

    def __init__(self, live: Tensor, code: str):
        self.live, self.code = live, code
        self.replaced = self.additions = self.coding = 0.0
        self.inputs = self.spikes = self.silent = 0
        self.steps = 1

    def coded(self, module: NeuronLinear, args: tuple[Any, ...]) -> None:
        code = code_of(module)
        assert code is not None
        x = args[0][self.live]
        s, _ = counts(x, code.k)
        self.steps = max(self.steps, steps(s, self.code))
        rows, readers = self._add(module, args[0], sent(s, self.code))
        # A division for each number that is coded, and the unit times each result.
        self.coding += rows * (x.shape[-1] + readers * module.weight.shape[1])

    def spiking(self, module: NeuronLinear, args: tuple[Any, ...]) -> None:
        self._add(module, args[0], (args[0][self.live] != 0).long())

    def _add(self, module: NeuronLinear, x: Tensor, spikes: Tensor) -> tuple[int, float]:
        """Add what a map does with the spikes `[L, N, I]` of its input `[B, T, N, I]`; its rows and their readers."""
        populations, outputs, inputs = module.weight.shape
        rows, readers = spikes.numel() // inputs, max(populations, x.shape[2]) / x.shape[2]
        fired = int(spikes.sum())
        self.replaced += rows * readers * inputs * outputs
        self.additions += fired * readers * outputs
        self.inputs += spikes.numel()
        self.spikes += fired
        self.silent += int((spikes == 0).sum())
        return rows, readers


def operations_of(
    run: str | Path | Run,
    symbols: int = 1024,
    *,
    text: str | Path | None = None,
    code: str = "ternary",
    report: Report = nobody,
) -> Operations:
    """What the model of a run does while it reads the beginning of its validation data.

    Args:
        run: whatever `inn.load` opens.
        symbols: of that data that are read, at most; of a task whole sequences, at least one.
        text: a text file to read instead.
        code: as `operations` has it.

    Raises `InputError` as `inn.load` and `load_with_data` do, and for an exported folder without a text.

    Example: ``operations_of("runs/demo").picojoules()``
    """
    if text is None and is_exported(Path(path_of(run))):
        raise InputError(f"'{path_of(run)}' is an exported folder, which has no data with it; give a text by --text")
    if text is not None:
        model = load(run)
        if model.vocabulary is None or isinstance(model.vocabulary, Names | Channels):
            raise InputError(f"'{path_of(run)}' reads no text; leave --text out")
        read = file_symbols(text, model.vocabulary.encode)
        if not len(read):
            raise InputError(f"'{text}' has no symbol to read; give another text by --text")
        return operations(model, torch.as_tensor(read[:symbols]).long()[None], code=code)
    model, data = load_with_data(run, report=report)
    given, mask = passage(data, symbols)
    return operations(model, given, mask=mask, code=code)


def passage(data: Dataset, symbols: int) -> tuple[Tensor, Tensor | None]:
    """The beginning of validation data, `[B, T]` or `[B, T, F]`, and the mask of the steps that are there.

    `symbols` at most; of a task whole sequences, at least one.
    """
    if not isinstance(data, TaskData):
        return as_tokens(data.valid[:symbols], torch.device("cpu"))[None], None
    examples = data.examples("valid")
    rows = max(1, int((examples.lengths.cumsum() <= symbols).sum()))
    inputs, _, mask = examples.take(np.arange(rows)).padded()
    return torch.from_numpy(inputs), None if mask is None else torch.from_numpy(mask)
