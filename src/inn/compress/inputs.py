"""What a model is calibrated on: rows of symbols, or rows of whatever else it takes, pictures for instance."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from inn.system.errors import InputError

Rows = Tensor | Mapping[str, Tensor]
"""Rows of symbols `[S, T]`, or a model's inputs by their names, each with a row `[S, ...]` for every example."""

IDS = "input_ids"
_POSITIONS = re.compile(r"\bwpe\.|\bembed_positions|\bpositions?_embed")
"""Tables with a row for each place of a text; a model without one reads on past the length that it was trained for."""


@dataclass(frozen=True)
class Inputs:
    """Rows of a model's inputs, by their names; a part of them is taken as of a tensor.

    >>> import torch
    >>> rows = Inputs.of(torch.zeros(4, 16, dtype=torch.long))
    >>> len(rows), rows.shape, [len(part) for part in rows.split(3)]
    (4, (4, 16), [3, 1])
    """

    fields: Mapping[str, Tensor]

    @classmethod
    def of(cls, rows: Rows | Inputs) -> Inputs:
        """Rows of symbols are what a model knows as `input_ids`."""
        if isinstance(rows, Inputs):
            return rows
        return cls({IDS: rows} if isinstance(rows, Tensor) else dict(rows))

    def __len__(self) -> int:
        return min((len(field) for field in self.fields.values()), default=0)

    def __getitem__(self, rows: slice | Tensor) -> Inputs:
        return Inputs({name: field[rows] for name, field in self.fields.items()})

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and symbols of each: one where they are not told, as of a picture."""
        ids = self.fields.get(IDS)
        return len(self), 1 if ids is None else ids.shape[-1]

    def split(self, rows: int) -> Iterator[Inputs]:
        """So many rows at a time."""
        return (self[i : i + rows] for i in range(0, len(self), rows))

    def to(self, device: Any) -> Inputs:
        """On a device."""
        return Inputs({name: field.to(device) for name, field in self.fields.items()})


def call(model: nn.Module, inputs: Inputs) -> Any:
    """What a model makes of its inputs, without a cache where it would keep one."""
    quiet = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    return model(**inputs.fields, **quiet)


@contextmanager
def readable(model: nn.Module, inputs: Inputs) -> Iterator[None]:
    """Where a model says that it cannot read its inputs as they are, raise `InputError` with what it says."""
    try:
        yield
    except (TypeError, ValueError) as error:
        told = " ".join(str(error).split())[:300]
        raise InputError(f"{type(model).__name__} cannot read {', '.join(inputs.fields)} alone: {told}") from error


def check_rows(model: nn.Module, rows: Rows | Inputs) -> None:
    """Raise `InputError` for what are no rows of a model's inputs, or rows or symbols that it has no place for."""
    inputs, kind = Inputs.of(rows), type(model).__name__
    lengths = {name: len(field) for name, field in inputs.fields.items()}
    if not lengths or len(set(lengths.values())) > 1:
        raise InputError(f"all inputs to calibrate on must have equally many rows, not {lengths}")
    takes = inspect.signature(model.forward).parameters
    for name in inputs.fields:
        if name not in takes:
            wanted = getattr(model, "main_input_name", IDS)
            raise InputError(f"{kind} takes no '{name}'; give rows of its '{wanted}', as {{'{wanted}': ...}}")
    if IDS in inputs.fields:
        _check_ids(model, inputs.fields[IDS], kind)
    elif not len(inputs):
        raise InputError("there are no rows to calibrate on; give some")


def _check_ids(model: nn.Module, rows: Tensor, kind: str) -> None:
    if rows.ndim != 2 or not rows.numel() or rows.is_floating_point():
        raise InputError(f"a text to calibrate on must be rows of symbols, not {list(rows.shape)} of {rows.dtype}")
    size = len(model.get_input_embeddings().weight)  # type: ignore[operator, arg-type, union-attr]
    low, high = int(rows.min()), int(rows.max())
    if low < 0 or high >= size:
        raise InputError(
            f"the text has symbols from {low} to {high}, and {kind} has those from 0 to {size - 1}; "
            "give the tokenizer that belongs to it"
        )
    names = [name for name, _ in (*model.named_parameters(), *model.named_buffers())]
    most = getattr(model.config, "max_position_embeddings", None)
    if most is not None and rows.shape[1] > most and any(_POSITIONS.search(name) for name in names):
        raise InputError(
            f"{kind} has places for {most} symbols, and rows have {rows.shape[1]}; use --length {most} or less"
        )
