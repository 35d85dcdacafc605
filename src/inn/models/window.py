"""The window of a Transformer that streams: which earlier symbols a symbol attends to, and what is kept of them.

A cache holds, per layer, the keys and values of the last `window - 1` symbols, oldest first and packed to the right;
`length` says how many of those slots are in use. Masked symbols never enter it; a reset empties it.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from inn.models.sequence import SequenceModel
from inn.nn.direct import home
from inn.nn.state import State
from inn.ops.derivatives import readable, transformed


@dataclass
class Plan:
    """What a run of T new symbols attends to; made once, used by every layer.

    Attributes:
        positions: `[B or 1, T]` int64; where the new symbols stand. Sliding: counted from the oldest cache slot
            (slot i stands at i), so they stay below `2 * window` for ever. Blocks: counted from the block's start.
        allowed: bool `[B or 1, 1, T, L]` over the keys (the cache if used, then the new ones); None means causal
            among the new symbols alone.
        cached: whether the cache's keys are among the L.
        packing: `[B, slots]` int64, which of the L keys the next cache takes; None takes the last ones.
        length: `[B]` int64; slots in use afterwards.
        slots: slots of the cache, `window - 1`.
    """

    positions: Tensor
    allowed: Tensor | None
    cached: bool
    packing: Tensor | None
    length: Tensor
    slots: int

    def join(self, cache: Tensor, new: Tensor) -> Tensor:
        """All keys (or values) to attend to: cache `[B, 1, slots, D]` and new `[B, T, D]` -> `[B, L, D]`."""
        return torch.cat((cache[:, 0].to(new.dtype), new), dim=1) if self.cached else new

    def keep(self, joined: Tensor, dtype: torch.dtype) -> Tensor:
        """The next cache `[B, 1, slots, D]` out of what `join` gave; slots that are not in use hold zeros."""
        if self.packing is not None:
            joined = joined.gather(1, self.packing[..., None].expand(-1, -1, joined.shape[-1]))
        kept = F.pad(joined, (0, 0, self.slots, 0))[:, joined.shape[1] :]
        used = torch.arange(self.slots, device=kept.device) >= self.slots - self.length[:, None]
        return torch.where(used[..., None], kept, 0).to(dtype)[:, None]


def plan(
    length: Tensor,
    steps: int,
    window: int,
    *,
    blocks: bool,
    fresh: bool = False,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> Plan:
    """Plan the attention of `steps` new symbols.

    Args:
        length: `[B]` int64, cache slots in use.
        steps: new symbols per row (T).
        window: symbols that a symbol sees at most, itself included (W).
        blocks: False: it sees the last W. True: the stream is cut into blocks of W symbols and it sees its own block
            up to itself; a reset starts a new block.
        fresh: nothing is cached in any row, and `steps <= window`: the cache is left out.
        reset: `[B, T]` bool or None, as in `SequenceModel.forward`.
        mask: `[B, T]` bool or None.
    """
    slots, device = window - 1, length.device
    if fresh and reset is None and mask is None:
        positions = torch.arange(steps, device=device)[None] + (0 if blocks else slots)
        after = length + steps
        return Plan(positions, None, False, None, _slots_in_use(after, window, blocks), slots)

    shape = (length.shape[0], steps)
    live = torch.ones(shape, dtype=torch.bool, device=device) if mask is None else mask
    starts = torch.zeros(shape, dtype=torch.bool, device=device) if reset is None else reset
    count = live.long().cumsum(1)  # live symbols of this run so far
    before = -length[:, None]
    if reset is not None:
        before = torch.where(starts, count - live.long(), before).cummax(1).values
    rank = count - before  # live symbols since the last reset, cached ones and this one included
    clock = count - 1 + slots  # the cache's slots are 0 .. slots - 1
    segment = starts.long().cumsum(1)
    block = (rank - 1).div(window, rounding_mode="floor") if blocks else torch.zeros_like(rank)

    key_live, key_clock, key_segment, key_block = live, clock, segment, block
    if not fresh:
        slot = torch.arange(slots, device=device).expand(length.shape[0], -1)
        key_live = torch.cat((slot >= slots - length[:, None], live), dim=1)
        key_clock = torch.cat((slot, clock), dim=1)
        key_segment = F.pad(segment, (slots, 0))
        key_block = F.pad(block, (slots, 0))
    age = clock[:, :, None] - key_clock[:, None]
    allowed = key_live[:, None] & (age >= 0) & (age < window)
    allowed = allowed & (segment[:, :, None] == key_segment[:, None]) & (block[:, :, None] == key_block[:, None])
    # A masked symbol's output is nobody's business, but a kernel may give NaN for a softmax over nothing.
    allowed = allowed | F.pad(torch.eye(steps, dtype=torch.bool, device=device), (allowed.shape[2] - steps, 0))

    packing = None
    if mask is not None and slots:  # live symbols to the right, in order
        packing = key_live.long().argsort(dim=1, stable=True)[:, -slots:]
    positions = (rank - 1) % window if blocks else clock
    after = _slots_in_use(rank[:, -1], window, blocks)
    return Plan(positions, allowed[:, None], not fresh, packing, after, slots)


def _slots_in_use(rank: Tensor, window: int, blocks: bool) -> Tensor:
    return rank % window if blocks else rank.clamp(max=window - 1)


def attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention: q `[B, H, T, d]`, k and v `[B, H, L, d]` -> `[B, T, H * d]`."""
    # The fused kernels know one derivative; the formula has them all.
    with sdpa_kernel(SDPBackend.MATH) if transformed() else nullcontext():
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=plan.allowed, dropout_p=dropout, is_causal=plan.allowed is None
        )
    return y.transpose(1, 2).flatten(2)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """`[B, L, D]` -> `[B, H, L, D / H]`."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Windowed:
    """What reads in windows: a mixin of models, whose `encode` is given a piece of a stream and what it attends to.

    The state holds `(layer, "k")` and `(layer, "v")`, each `[B, 1, window - 1, width]` in the weights' dtype and
    without positions, and `(0, "length")` `[B, 1]` int64: how many of the slots are in use. A run longer than the
    window is read in pieces of one window, so memory grows with the window and not with the run.
    """

    blocks: ClassVar[bool]
    config: Any

    @abstractmethod
    def encode(
        self, given: Tensor, plan: Plan, caches: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """What is made of a piece `[B, T, ...]`, T <= window, and per layer the joined keys and values."""

    @property
    @abstractmethod
    def first(self) -> nn.Embedding | nn.Linear:
        """The module that reads the input; its weight says type and device."""

    def read_windows(
        self, given: Tensor, state: State | None, reset: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        """Read a stretch `[B, T, ...]`, piece by piece."""
        fresh = state is None
        state = self.empty_caches(given.shape[0]) if state is None else state
        window, dtype = self.config.window, self.first.weight.dtype
        if torch.compiler.is_exporting():  # in one piece, whatever the number of steps turns out to be
            fresh, window = False, given.shape[1]
        outputs = []
        for start in [0] if torch.compiler.is_exporting() else range(0, given.shape[1], window):
            piece, starts, live = (None if t is None else t[:, start : start + window] for t in (given, reset, mask))
            assert piece is not None
            length = state[0, "length"][:, 0]
            fresh = (fresh and not start) or (readable(length) and not bool(length.any()))
            steps = plan(
                length, piece.shape[1], self.config.window, blocks=self.blocks, fresh=fresh, reset=starts, mask=live
            )
            caches = [(state[i, "k"], state[i, "v"]) for i in range(self.config.layers)]
            y, joined = self.encode(piece, steps, caches)
            outputs.append(y)
            parts = {(0, "length"): steps.length[:, None]}
            for i, (k, v) in enumerate(joined):
                parts[i, "k"], parts[i, "v"] = steps.keep(k, dtype), steps.keep(v, dtype)
            state = State(parts)
        return torch.cat(outputs, dim=1), state

    def empty_caches(self, batch: int) -> State:
        """The state before the first step."""
        c, weight = self.config, self.first.weight
        shape, device = (batch, 1, c.window - 1, c.width), home(self.first, weight)
        zeros = [torch.zeros(shape, dtype=weight.dtype, device=device) for _ in range(2 * c.layers)]
        parts = {(i // 2, "kv"[i % 2]): t for i, t in enumerate(zeros)}
        parts[0, "length"] = torch.zeros(batch, 1, dtype=torch.int64, device=device)
        return State(parts)


class WindowedModel(Windowed, SequenceModel):
    """A Transformer that streams for ever in constant memory (see `Windowed`); `encode` gives logits `[B, T, vocab]`.

    Subclasses say what a layer does.
    """

    embedding: nn.Embedding

    @property
    def first(self) -> nn.Embedding | nn.Linear:
        return self.embedding

    def forward(
        self, tokens: Tensor, state: State | None = None, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """See `SequenceModel.forward`. A reset at a masked position still empties the cache."""
        return self.read_windows(tokens, state, reset, mask)

    def initial_state(self, batch: int) -> State:
        """An empty cache."""
        return self.empty_caches(batch)
