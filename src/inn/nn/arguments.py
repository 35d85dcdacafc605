"""The arguments of a call, checked once and alike for graphs and models of every kind; what is behind trusts them.

What a mask or a reset takes away is taken out here too: no NaN behind it meets the arithmetic, forward or backward.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from inn.nn.state import WHOLE, Key, State
from inn.nn.topology.edges import Edges
from inn.system.errors import InputError


class Own(NamedTuple):
    """What fits a module: the parts of its state without their streams, its device (None for several), its type."""

    parts: dict[Key, tuple[tuple[int, ...], torch.dtype]]
    device: torch.device | None
    dtype: torch.dtype | None


class Checked(nn.Module):
    """A module that reads streams: `forward`, and `step_` if it has one, get arguments that are checked.

    Subclasses say what they read in `check_given`; their `forward(given, state, *, reset, mask, ...)` returns `[B, T,
    ...]` and a `State`, and need not think of empty batches, states of others, types, or numbers behind a mask.
    """

    symbols: bool = True
    """Whether it reads symbols `[B, T]`, or vectors `[B, T, F]`."""
    _own: Own | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, door in (("forward", checked), ("step_", checked_step)):
            if name in vars(cls) and not hasattr(vars(cls)[name], "_behind"):
                setattr(cls, name, door(vars(cls)[name]))

    def _apply(self, fn: Callable, recurse: bool = True) -> Any:
        self._own = None  # on another device, or of another type, from now on
        return super()._apply(fn, recurse)

    def check_given(self, given: Any) -> Tensor:
        """What is read, in the type that is read; raises `InputError` where it is nothing that can be read."""
        raise NotImplementedError

    def own(self, again: bool = False) -> Own:
        """What fits this module; measured anew where it may have changed."""
        if torch.compiler.is_compiling():
            return _measured(self)
        if self._own is None or again:
            self._own = _measured(self)
        return self._own

    def check_device(self, what: str, t: Tensor) -> None:
        """Raise `InputError` where a tensor is on another device than the module."""
        for again in (False, True):
            device = self.own(again).device
            if device is None or "meta" in (device.type, t.device.type) or t.device == device:
                return
        raise InputError(f"{what} is on {t.device}, the model on {device}; move one of them with .to('{device}')")

    def check_state(self, state: Any, streams: int) -> State:
        """A state that fits, of `streams` streams, numbers in the module's types; raises `InputError` for any other."""
        if not isinstance(state, State):
            raise InputError(f"state must be an inn.State or None, not {_named(state)}")
        own = self.own().parts
        if any(own.get(key) != (t.shape[1:], t.dtype) for key, t in state.items()) or len(state) != len(own):
            own = self.own(again=True).parts
            if difference := _difference(state, own):
                raise InputError(f"this state is of another model: {difference}; start from None, or from one's own")
            state = State({k: t.to(own[k][1]) if t.is_floating_point() else t for k, t in state.items()})
        state.check_batch(streams)
        if (device := self.own().device) is not None and any(t.device != device for t in state.values()):
            for (r, part), t in state.items():
                self.check_device(f"part '{part}' of the state's round {r}", t)
        return state


def checked(forward: Callable) -> Callable:
    """A `forward` behind the checks of `Checked`."""

    @wraps(forward)
    def call(
        self: Checked,
        given: Any,
        state: Any = None,
        *,
        reset: Any = None,
        mask: Any = None,
        checked: bool = False,
        **options: Any,
    ) -> tuple[Tensor, State]:
        if checked:  # by the model that this is a part of
            return forward(self, given, state, reset=reset, mask=mask, **options)
        given = self.check_given(given)
        streams, steps = given.shape[:2]
        reset, mask = (flags(name, t, given, streams, steps) for name, t in (("reset", reset), ("mask", mask)))
        if state is not None:
            state = self.check_state(state, streams)
        if options.get("edges") is not None:
            check_edges(options["edges"], self.config.neurons)  # type: ignore[union-attr]
        if streams == 0 or steps == 0:
            return _nothing(forward, self, given, state, **options)
        if mask is not None:
            given = given.masked_fill(~mask if self.symbols else ~mask[..., None], 0)
        if self.symbols:
            check_range(given, self.config.vocab)  # type: ignore[union-attr]
        if reset is None and mask is None:
            return forward(self, given, state, **options)
        given, fresh, lost, kept = _sheltered(self, given, state, reset, mask)
        y, after = forward(self, given, fresh, reset=reset, mask=mask, **options)
        if lost is not None:
            y = y.masked_fill(lost.unflatten(-1, (-1, *(1,) * (y.ndim - 2))), torch.nan)
        if kept is not None and state is not None:
            after = State({k: torch.where(_like(kept, t), state[k], t) for k, t in after.items()}, after.penalties)
        return y, after

    call._behind = forward  # type: ignore[attr-defined]
    return call


def checked_step(step_: Callable) -> Callable:
    """A `step_` behind the checks of `Checked`."""

    @wraps(step_)
    def call(self: Checked, tokens: Any, state: Any = None, **options: Any) -> tuple[Tensor, State]:
        tokens = self.check_given(one_each(tokens)[:, None])[:, 0]
        check_range(tokens, self.config.vocab)  # type: ignore[union-attr]
        if state is not None:
            state = self.check_state(state, len(tokens))
            if any(0 in t.stride() for t in state.values()):  # one number in several places cannot be changed there
                state = state.clone()
        if not len(tokens):
            logits, after = self(tokens[:, None], state)
            return logits[:, 0], after
        return step_(self, tokens, state, **options)

    call._behind = step_  # type: ignore[attr-defined]
    return call


def one_each(tokens: Any) -> Tensor:
    """The symbols of one step, `[B]`; raises `InputError` for another shape."""
    if not isinstance(tokens, Tensor):
        raise InputError(f"a step takes tokens [B], a tensor of one symbol for each stream, not {_named(tokens)}")
    if tokens.ndim != 1:
        raise InputError(f"a step takes tokens [B], one symbol for each stream, not {list(tokens.shape)}")
    return tokens


def symbols(tokens: Any) -> Tensor:
    """Symbols `[B, T]` as int64, from any type of whole numbers; raises `InputError` for anything else."""
    if not isinstance(tokens, Tensor):
        raise InputError(f"tokens must be a tensor [B, T] of whole numbers, not {_named(tokens)}")
    if tokens.ndim != 2:
        raise InputError(f"tokens must be [B, T], which is [batch, time], not {list(tokens.shape)}")
    if tokens.dtype not in WHOLE:
        raise InputError(f"tokens must be whole numbers, not {_type(tokens)}; convert them with .long()")
    return tokens.long()


def check_range(tokens: Tensor, vocab: int) -> None:
    """Raise `InputError` for symbols outside the vocabulary, where they can be looked at without waiting."""
    if not _legible(tokens) or not tokens.numel():
        return
    low, high = (int(tokens),) * 2 if tokens.numel() == 1 else (int(t) for t in tokens.aminmax())
    if low < 0 or high >= vocab:
        bad = low if low < 0 else high
        raise InputError(f"tokens must be from 0 to {vocab - 1}, the symbols of the model, not {bad}")


def vectors(x: Any, width: int, module: Checked) -> Tensor:
    """Vectors `[B, T, F]` of the module's type; raises `InputError` for anything else."""
    if not isinstance(x, Tensor):
        hint = ""
        if isinstance(x, nn.utils.rnn.PackedSequence):
            hint = "; unpack it with pad_packed_sequence, and say by mask [B, T] what is padding"
        raise InputError(f"the graph takes a tensor [batch, time, {width}], not {_named(x)}{hint}")
    if x.ndim != 3 or x.shape[-1] != width:
        raise InputError(f"the graph takes [batch, time, {width}], not {list(x.shape)}")
    if torch.is_autocast_enabled(x.device.type) and x.is_floating_point():
        return x
    for again in (False, True):
        dtype = module.own(again).dtype
        if dtype is None or x.dtype == dtype:
            return x
    raise InputError(
        f"the graph takes {_type(dtype)}, as its weights are, not {_type(x)}; convert with x.to(torch.{_type(dtype)})"
    )


def flags(name: str, t: Any, given: Tensor, streams: int, steps: int) -> Tensor | None:
    """A mask or resets, `[B, T]`, as bool; raises `InputError` for other shapes, devices and numbers than 0 and 1."""
    if t is None:
        return None
    if not isinstance(t, Tensor):
        raise InputError(f"{name} must be a tensor [B, T] of bool, here [{streams}, {steps}], not {_named(t)}")
    if t.shape != given.shape[:2]:
        raise InputError(f"{name} must be [B, T], here [{streams}, {steps}], not {list(t.shape)}")
    if t.device != given.device:
        raise InputError(f"{name} is on {t.device}, what it is of on {given.device}; move it with .to(...)")
    if t.dtype != torch.bool:
        on = t == 1
        # Nobody who is in a hurry gives other numbers than bool, so that the look at them may wait for a GPU.
        if _legible(t, anywhere=True) and not bool((on | (t == 0)).all()):
            raise InputError(f"{name} must be bool, or numbers that are all 0 or 1; make it bool by a comparison")
        t = on
    return t


def check_edges(edges: Any, neurons: int) -> None:
    """Raise `InputError` unless these are `Edges` of so many neurons."""
    if not isinstance(edges, Edges):
        raise InputError(f"edges must be inn.Edges or None, not {_named(edges)}; make them with inn.Edges.listed(...)")
    if edges.sources.shape[0] != neurons:
        raise InputError(f"edges must be of the graph's {neurons} neurons, not of {edges.sources.shape[0]}")


def _nothing(forward: Callable, module: Checked, given: Tensor, state: State | None, **options: Any) -> Any:
    """What is made of no streams or no steps: nothing, of the right shape, in the graph of gradients."""
    streams, steps = given.shape[:2]
    one = given.new_zeros(1, 1, *given.shape[2:])
    if not module.symbols:
        one = one + given.sum()
    y, after = forward(module, one, None, mask=torch.zeros(1, 1, dtype=torch.bool, device=given.device), **options)
    y = y.expand(max(1, streams), max(1, steps), *y.shape[2:])[:streams, :steps]
    penalties = {name: 0 * penalty for name, penalty in after.penalties.items()}
    if streams == 0:
        return y, State({k: t[:0] for k, t in after.items()}, penalties)
    return y, State(module.initial_state(streams) if state is None else state, penalties)  # type: ignore[operator]


def _sheltered(
    module: Checked, given: Tensor, state: State | None, reset: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, State | None, Tensor | None, Tensor | None]:
    """Take out what a mask or a reset takes away, so that a NaN there reaches nothing, weights' gradients included.

    A stream whose state is not finite starts afresh where a reset comes later: what it gives
    before that is NaN, and is put there afterwards. One that does not read at all keeps its state.

    Returns what is read, the state to start from, where NaN is to be put `[B, T]`, and whose state is to be put back
    `[B]`; the last two None where there is nothing to be put.
    """
    if module.symbols and state is None:
        return given, None, None, None
    live = torch.ones_like(reset) if mask is None else mask  # type: ignore[arg-type]
    resets = torch.zeros_like(live) if reset is None else reset
    spoilt, known = torch.zeros_like(live[:, 0]), _legible(given)
    parts = {} if state is None else {k: t for k, t in state.items() if t.is_floating_point() and t.numel()}
    for t in parts.values():
        spoilt = spoilt | ((t.detach().flatten(1) * 0).sum(1) != 0)
    begun = resets.cumsum(1)
    spoilt = spoilt & ((begun[:, -1] > 0) | ~live.any(1))
    lost = spoilt[:, None] & (begun == 0) & live
    if not module.symbols and reset is not None:
        # An input that is not finite spoils what follows up to the next reset.
        bad = live & ~given.detach().isfinite().all(-1)
        count = bad.cumsum(1)
        before = torch.where(reset, count - bad.long(), 0).cummax(1).values
        lost = lost | ((count > before) & (begun < begun[:, -1:]) & live)
    if known and not bool(spoilt.any() | lost.any()):
        return given, state, None, None
    if not module.symbols:
        given = given.masked_fill(lost[..., None], 0)
    if state is None:
        return given, None, lost, None
    first = module.initial_state(1)  # type: ignore[operator]
    fresh = State({k: torch.where(_like(spoilt, t), first[k], t) if k in parts else t for k, t in state.items()})
    return given, fresh, lost, spoilt & (begun[:, -1] == 0)


def _measured(module: Checked) -> Own:
    none: State = module.initial_state(0)  # type: ignore[operator]
    weights = next((p for p in module.parameters() if p.is_floating_point()), None)
    plain = weights is not None and type(weights) in (Tensor, nn.Parameter)
    tensors = [*none.values(), *([] if weights is None else [weights])]
    devices = {t.device for t in tensors}
    return Own(
        {key: (tuple(t.shape[1:]), t.dtype) for key, t in none.items()},
        devices.pop() if len(devices) == 1 else None,
        weights.dtype if weights is not None and plain else None,
    )


def _difference(state: State, own: dict[Key, tuple[tuple[int, ...], torch.dtype]]) -> str:
    """What tells a state from one that fits, in words; empty where types of floating point do at most."""
    for r, part in own.keys() - state.keys():
        return f"it lacks part '{part}' of round {r}"
    for (r, part), t in state.items():
        what = f"part '{part}' of round {r}"
        if (r, part) not in own:
            return f"this model has no {what}"
        shape, dtype = own[r, part]
        if t.shape[1:] != shape:
            return f"its {what} is {_shape(t.shape[1:])}, here {_shape(shape)}"
        if t.dtype != dtype and not (t.is_floating_point() and dtype.is_floating_point):
            return f"its {what} is {_type(t)}, here {_type(dtype)}"
    return ""


def _legible(t: Tensor, *, anywhere: bool = False) -> bool:
    """Whether a tensor's numbers can be looked at here and now; on an accelerator that would be a wait."""
    if torch.compiler.is_compiling() or t.is_meta or type(t) not in (Tensor, nn.Parameter):
        return False
    return (anywhere or t.is_cpu) and not torch._C._are_functorch_transforms_active()


def _like(rows: Tensor, t: Tensor) -> Tensor:
    """Rows `[B]` beside a part of a state `[B, ...]`."""
    return rows.view(-1, *(1,) * (t.ndim - 1))


def _named(value: Any) -> str:
    """What a value is, for a sentence."""
    return "None" if value is None else f"a {type(value).__name__}"


def _type(t: Tensor | torch.dtype | None) -> str:
    return str(t.dtype if isinstance(t, Tensor) else t).removeprefix("torch.")


def _shape(shape: Any) -> str:
    return "[" + ", ".join(["B", *map(str, shape)]) + "]"
