"""The state of an INN as `transformers` passes it from call to call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from inn.models.inn import RECALL
from inn.nn.state import State
from inn.system.errors import InputError


@dataclass
class Chunk:
    """Symbols `[B, T]` that were read, or are to be, with their mask, and in which rows the first is own writing."""

    tokens: Tensor
    mask: Tensor | None = None
    own: Tensor | None = None

    def __add__(self, other: Chunk) -> Chunk:
        mask = None
        if self.mask is not None or other.mask is not None:
            mask = torch.cat([b.tokens >= 0 if b.mask is None else b.mask for b in (self, other)], 1)
        return Chunk(torch.cat((self.tokens, other.tokens), 1), mask, self.own)

    def first(self, n: int) -> Chunk:
        return Chunk(self.tokens[:, :n], None if self.mask is None else self.mask[:, :n], self.own)

    def rows(self, rows: Tensor) -> Chunk:
        rows = rows.to(self.tokens.device)
        return Chunk(*(None if t is None else t[rows] for t in (self.tokens, self.mask, self.own)))  # type: ignore[arg-type]

    def unread(self) -> Tensor | None:
        """`INNCache.unread` before it was read."""
        return None if self.own is None else self.tokens[:, 0].masked_fill(~self.own, -1)


class INNCache(Cache):
    """An `inn.State` that grows no longer, however long the text; None before the first symbol.

    As every cache of `transformers` it is changed by the model it is passed to: `copy.deepcopy` one to go on from the
    same place twice. The `State` that it is made from is never changed.

    A recurrent state cannot be cut shorter. While the past is recorded (assisted decoding does so) the cache keeps the
    state from before the symbols that may have to be taken back, and those symbols; `crop` goes back to it, and the
    symbols that stay are read again with the next ones.

    Args:
        state: what to go on from.
        length: positions read, padding among them.

    >>> from inn import INN
    >>> cache = INNCache(INN(vocab=27, neurons=2, width=8, rounds=1).initial_state(1))
    >>> cache.batch_repeat_interleave(3)
    >>> cache.batch_size, cache.get_seq_length()
    (3, 0)
    """

    def __init__(self, state: State | None = None, length: int = 0):
        super().__init__(layers=[])
        self.length = length
        self.written_from: int | None = None
        """Position from which on the symbols are the model's own writing, which is not to be recalled (`step_`)."""
        self.recording = False
        self.pending: Chunk | None = None
        """Symbols that count as read and still have to be."""
        self.unread: Tensor | None = None
        """The symbol `[B]` that each stream wrote last, if it is still to be read: its own writing, when it comes."""
        self._state, self._own = state, False
        self._past: State | None = None
        self._since: Chunk | None = None

    @property
    def state(self) -> State | None:
        """The state, not to be changed."""
        self._own = False
        return self._state

    def owned(self) -> State | None:
        """The state, to be changed in place: no one else has it."""
        if self._state is not None and not self._own:
            self._state = self._state.clone()
        self._own = True
        return self._state

    def keep(self, state: State, chunk: Chunk, own: bool = False) -> None:
        """Take the state after `chunk`."""
        if self.recording:
            self._since = chunk if self._since is None else self._since + chunk
        self._state, self._own = state, own
        self.length += chunk.tokens.shape[1]

    def take_unread(self, tokens: Tensor) -> Tensor | None:
        """Which streams are given their own last symbol as the first of `tokens` `[B, T]`: `[B]` bool, None if none."""
        unread, self.unread = self.unread, None
        if unread is None or len(unread) != len(tokens):
            return None
        own = tokens[:, 0] == unread.to(tokens.device)
        return own if bool(own.any()) else None

    def past(self, rows: Tensor) -> None:
        """Go back to before all that was recorded, in these rows."""
        since = self._since
        if since is not None:
            self.crop(-since.tokens.shape[1])
            self.unread = since.unread()
        self._select(rows)

    def commit(self) -> None:
        """What was read so far is never taken back."""
        self._since = None
        self._past = self.state if self.recording else None

    def crop(self, tokens_to_remove: int) -> None:
        """Take back the last `-tokens_to_remove` symbols; a positive number says how many positions to keep.

        Raises `InputError` where the past was not recorded so far back.
        """
        n = -tokens_to_remove if tokens_to_remove <= 0 else max(0, self.length - tokens_to_remove)
        if n:
            read = 0 if self._since is None else self._since.tokens.shape[1]
            if n > read or not self.recording or self._since is None:
                raise InputError(
                    f"{n} symbols cannot be taken back out of a recurrent state, of which {read} were recorded; "
                    "call activate_past_recording before they are read, or start from a copy of an earlier cache"
                )
            self._state, self._own, self.unread = self._past, False, None
            self.length -= read
            if read > n:
                self.pending = self._since.first(read - n)
                self.length += read - n
        self.commit()

    def activate_past_recording(self) -> None:
        if not self.recording:
            self.recording = True
            self.commit()

    def is_recording_past(self, layer_idx: int = 0) -> bool:
        return self.recording

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions read, padding among them."""
        return self.length

    def get_max_length(self, layer_idx: int | None = None) -> int:
        """-1: there is no limit."""
        return -1

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        return self.length + query_length, 0

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i goes on from row `beam_idx[i]`."""
        self._select(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows."""
        self._select(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row `repeats` times, one after the other."""
        if self.batch_size > 0:
            self._select(torch.arange(self.batch_size).repeat_interleave(repeats))

    def repeat_to(self, rows: int, copies: int) -> None:
        """One stream, or `rows` of them, become `rows` times `copies`, as `generate` has its prompts."""
        if self.batch_size in (1, rows) and self.batch_size != rows * copies:
            self.batch_repeat_interleave(rows * copies // self.batch_size)

    def _select(self, rows: Tensor) -> None:
        if self._state is not None:
            self._state, self._own = self._state.select_batch(rows), True
        if self._past is not None:
            self._past = self._past.select_batch(rows)
        self.pending, self._since = (b and b.rows(rows) for b in (self.pending, self._since))
        self.unread = None if self.unread is None else self.unread[rows.to(self.unread.device)]

    def reset(self) -> None:
        """Nothing read."""
        self.__init__()

    def __deepcopy__(self, memo: dict[int, Any]) -> INNCache:
        copy = INNCache(None if self._state is None else self._state.clone(), self.length)
        copy.__dict__.update({k: v for k, v in self.__dict__.items() if k not in ("_state", "_own")})
        copy.layers = []
        return copy

    def __len__(self) -> int:
        return 0 if self._state is None else len({r for r, _ in self._state})

    def __repr__(self) -> str:
        return f"INNCache({self.length} read, {self._state})"

    @property
    def batch_size(self) -> int:
        """Rows; -1 where nothing was read, and of a model without any memory."""
        return next((len(t) for t in (self._state or {}).values()), -1)

    @property
    def is_compileable(self) -> bool:
        return False

    @property
    def is_initialized(self) -> bool:
        return self._state is not None

    @property
    def is_croppable(self) -> bool:
        return self.recording


def unlearned(before: State, after: State, rows: Tensor) -> State:
    """The state `after` a symbol that some rows, `[B]` bool, are not to recall: their tables are those of `before`."""
    key = (RECALL, "table")
    if key not in after:
        return after
    table = torch.where(rows.view(-1, *[1] * (after[key].ndim - 1)), before[key], after[key])
    return State({**after, key: table}, after.penalties)
