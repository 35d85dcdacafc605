"""Several texts in one row: where each begins, as the collators of `transformers` say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inn.system.errors import InputError


def resets(tokens: Tensor, mask: Tensor | None, options: Mapping[str, Any]) -> Tensor | None:
    """Where a text begins, `[B, T]` bool; None where nothing says that one does.

    Args:
        tokens: `[B, T]`.
        mask: `[B, T]` bool; padding begins nothing, whatever its position.
        options: of these the first that is there counts: `seq_idx` `[B, T]`, the number of the text; `cu_seq_lens_q`
            `[texts + 1]`, the ends of texts in a batch that is one row; `position_ids` `[B, T]` or `[1, T]`, 0 where
            one begins.

    Raises `InputError` for one of another shape.

    >>> resets(torch.zeros(1, 5), None, {"position_ids": torch.tensor([[0, 1, 2, 0, 1]])}).long()
    tensor([[1, 0, 0, 1, 0]])
    """
    if (number := options.get("seq_idx")) is not None:
        number = _fitting("seq_idx", number, tokens)
        begins = torch.ones_like(tokens, dtype=torch.bool)
        begins[:, 1:] = number[:, 1:] != number[:, :-1]
    elif (ends := options.get("cu_seq_lens_q")) is not None:
        if len(tokens) != 1 or int(ends[-1]) != tokens.shape[1]:
            raise InputError(
                f"cu_seq_lens_q is of one row with the texts one after the other, {int(ends[-1])} symbols, and "
                f"input_ids is {list(tokens.shape)}"
            )
        begins = torch.zeros_like(tokens, dtype=torch.bool)
        begins[:, ends[:-1].long()] = True
    elif (positions := options.get("position_ids")) is not None:
        begins = _fitting("position_ids", positions, tokens) == 0
    else:
        return None
    return begins if mask is None else begins & mask


def _fitting(name: str, given: Tensor, tokens: Tensor) -> Tensor:
    if given.ndim > 2 or given.shape[-1] != tokens.shape[1] or given.numel() not in (given.shape[-1], tokens.numel()):
        raise InputError(f"{name} must be [batch, time] as input_ids, {list(tokens.shape)}, not {list(given.shape)}")
    return given.expand(tokens.shape)
