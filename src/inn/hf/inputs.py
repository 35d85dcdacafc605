"""What a model of `transformers` is called with, as an INN takes it: symbols, masks, resets, and passes over them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from inn.hf.cache import INNCache
from inn.hf.packed import resets
from inn.system.errors import InputError


def checked(
    input_ids: Tensor | None, attention_mask: Tensor | None, cache: Any, options: Mapping[str, Any], symbols: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Symbols, mask and resets, each `[B, T]`; None for a mask that masks nothing, and where no text begins.

    Args:
        input_ids: `[B, T]`; `symbols`, the number after the last one, is the tokenizers' own padding.
        attention_mask: `[B, T]`, or `[B, earlier + T]` of which the last T count; 1 and 0, or bool.
        cache: what is gone on from.
        options: all else that the model was called with.
        symbols: how many there are.

    Raises `InputError` for `inputs_embeds`, caches of other models, and symbols and masks that do not fit.
    """
    if input_ids is None or options.get("inputs_embeds") is not None:
        raise InputError("an INN reads symbols, which it recalls by number: give input_ids, not inputs_embeds")
    if input_ids.ndim != 2 or input_ids.is_floating_point() or input_ids.dtype == torch.bool:
        raise InputError(
            f"input_ids must be whole numbers, [batch, time], not {input_ids.dtype} of {list(input_ids.shape)}"
        )
    if cache is not None:
        check_cache(cache)
    rows, T = input_ids.shape
    mask, compiling = input_ids != symbols, torch.compiler.is_compiling()
    wrong = torch.zeros((), dtype=torch.bool, device=mask.device)
    if attention_mask is not None:
        earlier = 0 if cache is None else cache.length
        if attention_mask.ndim != 2 or len(attention_mask) != rows or attention_mask.shape[1] not in (T, earlier + T):
            raise InputError(
                f"attention_mask must be [{rows}, {T}] as the new symbols are"
                + (f", or [{rows}, {earlier + T}] with those that the cache has read" if earlier else "")
                + f", not {list(attention_mask.shape)}"
            )
        given = attention_mask[:, -T:].to(mask.device)
        mask = mask & (given != 0)
        wrong = ((given != 0) & (given != 1)).any()
    reset = resets(input_ids, mask, options)
    # A compiled model cannot depend on what the mask says, only on whether there is one.
    if compiling:
        plain = attention_mask is None
    else:  # both at once: each look waits for the device
        plain, odd = torch.stack((mask.all(), wrong)).tolist()
        if odd:
            raise InputError(
                "attention_mask must be 1 for symbols and 0 for padding; where texts of a packed row begin is said by "
                "position_ids, seq_idx or cu_seq_lens_q"
            )
    return (input_ids, None, reset) if plain else (input_ids.masked_fill(~mask, 0), mask, reset)


def check_prompt(
    prompt: Tensor | None, mask: Tensor | None, cache: INNCache | None, options: Mapping[str, Any], symbols: int
) -> None:
    """Raise `InputError` for what cannot be gone on from: other shapes, and texts that have no symbol at all."""
    if options.get("inputs_embeds") is not None:
        raise InputError("an INN reads symbols, which it recalls by number: give input_ids, not inputs_embeds")
    if prompt is None:
        return
    if prompt.ndim != 2 or 0 in prompt.shape:
        raise InputError(f"a prompt is [batch, time] of at least one symbol, not {list(prompt.shape)}")
    if mask is not None and (mask.ndim != 2 or len(mask) != len(prompt) or mask.shape[1] < prompt.shape[1]):
        raise InputError(f"attention_mask must be {list(prompt.shape)} as the prompt, not {list(mask.shape)}")
    if cache is None or not cache.length:
        real = prompt != symbols
        real = real if mask is None else real & (mask[:, -prompt.shape[1] :].to(real.device) != 0)
        if not bool(real.any(1).all()):
            raise InputError("a prompt has nothing but padding; begin it with the tokenizer's bos_token")


def check_cache(cache: Any) -> None:
    """Raise `InputError` for a cache of another model."""
    if not isinstance(cache, INNCache):
        kind = type(cache).__name__
        raise InputError(f"an INN carries its state in an INNCache, not in a {kind}; give that, or none")


def passes(begin: int, end: int, written: int | None, recording: bool, apart: bool = False) -> list[tuple[int, int]]:
    """The stretches of positions that are read in one pass each: the prompt, and what is written after it.

    While the past is recorded the prompt's last symbol is apart: all before it stays read for good. `apart` sets the
    first symbol apart.

    >>> passes(0, 9, written=5, recording=False), passes(0, 9, written=5, recording=True)
    ([(0, 5), (5, 9)], [(0, 4), (4, 5), (5, 9)])
    """
    cuts = [] if written is None else [written - 1, written] if recording else [written]
    cuts = sorted({*cuts, begin + 1}) if apart else cuts
    edges = [begin, *(c for c in cuts if begin < c < end), end]
    return list(pairwise(edges))


def cut(t: Tensor | None, place: slice) -> Tensor | None:
    """Positions of a mask or of resets `[B, T]`; None where there are none."""
    return None if t is None else t[:, place]


def held(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Hidden states `[B, T, F]` with those of the last symbol before it at every masked position.

    What stands on the right of a text then changes nothing. Before the first symbol they stay as they are.
    """
    if mask is None:
        return hidden
    here = torch.arange(hidden.shape[1], device=mask.device)
    last = torch.where(mask, here, -1).cummax(1).values
    last = torch.where(last < 0, here, last)
    return hidden.gather(1, last[..., None].expand_as(hidden))
