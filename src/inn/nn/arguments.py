"""The arguments of a call, checked once and alike for graphs and models of every kind; what is behind trusts them.

What a mask or a reset takes away is taken out here too: no NaN behind it meets the arithmetic, forward or backward.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import wraps
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from inn.nn.masked import legible, like, nothing, sheltered
from inn.nn.state import WHOLE, Key, State
from inn.nn.steps import durations, flags, named
from inn.nn.topology.edges import Edges
from inn.ops.tensors import autocasts
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
    gaps: bool = False
    """Whether NaN in a vector is a value that is missing."""
    _own: Own | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, door in (("forward", checked), ("step_", checked_step), ("initial_state", checked_streams)):
            if name in vars(cls) and not hasattr(vars(cls)[name], "_behind"):
                setattr(cls, name, door(vars(cls)[name]))

    def _apply(self, fn: Callable, recurse: bool = True) -> Any:
        self._own = None  # on another device, or of another type, from now on
        return super()._apply(fn, recurse)

    def check_given(self, given: Any) -> Tensor:
        """What is read, in the type that is read; raises `InputError` where it is nothing that can be read."""
        raise NotImplementedError

    def check_values(self, given: Tensor) -> None:
        """Raise `InputError` for numbers that cannot be read, where they can be looked at without waiting."""
        if self.symbols:
            check_range(given, self.config.vocab)  # type: ignore[union-attr]

    def check_step(self, given: Any) -> Tensor:
        """What is read of one step, `[B]` symbols or `[B, F]`; raises `InputError` for what cannot be read."""
        tokens = whole(one_each(given))
        self.check_device("tokens", tokens)
        self.check_values(tokens)
        return tokens

    def own(self, again: bool = False) -> Own:
        """What fits this module; measured anew where it may have changed."""
        if torch.compiler.is_compiling():
            return _measured(self)
        if self._own is None or again:
            self._own = _measured(self)
        return self._own

    def check_device(self, what: str, t: Tensor) -> None:
        """Raise `InputError` where a tensor is on another device than the module."""
        if self._own is not None and t.device == self._own.device:
            return
        for again in (False, True):
            device = self.own(again).device
            if device is None or "meta" in (device.type, t.device.type) or t.device == device:
                return
        raise InputError(f"{what} is on {t.device}, the model on {device}; move one of them with .to('{device}')")

    def spared(self, options: Mapping[str, Any]) -> Collection[int]:
        """The rounds that a state need not have, called with these options: what stands there is not used."""
        return ()

    def check_state(self, state: Any, streams: int, spared: Collection[int] = ()) -> State:
        """A state that fits, of `streams` streams, numbers in the module's types; raises `InputError` for any other."""
        if not isinstance(state, State):
            raise InputError(f"state must be an inn.State or None, not {named(state)}")
        compiling = torch.compiler.is_compiling()
        if not compiling and state.fits[0] is self._own is not None and state.fits[1] == streams:
            return state
        own = _but(self.own().parts, spared)
        if any(own.get(key) != (t.shape[1:], t.dtype) for key, t in state.items()) or len(state) != len(own):
            own = _but(self.own(again=True).parts, spared)
            if difference := _difference(state, own):
                raise InputError(f"this state is of another model: {difference}; start from None, or from one's own")
            state = State({k: t.to(own[k][1]) if t.is_floating_point() else t for k, t in state.items()})
        state.check_batch(streams)
        if (device := self.own().device) is not None and any(t.device != device for t in state.values()):
            for (r, part), t in state.items():
                self.check_device(f"part '{part}' of the state's round {r}", t)
        if not compiling and not spared:
            state.fits = (self._own, streams)
        return state


def recorded(given: Any) -> Any:
    """A tensor or a state as it is, or a copy of one that was made in inference mode, which no backward pass can keep.

    Anything else stays as it is.
    """
    parts = given.values() if isinstance(given, State) else (given,)
    return given.clone() if any(isinstance(t, Tensor) and t.is_inference() for t in parts) else given


def _but(parts: dict[Key, Any], spared: Collection[int]) -> dict[Key, Any]:
    return {key: part for key, part in parts.items() if key[0] not in spared} if spared else parts


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
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            given, state, reset, mask = (recorded(t) for t in (given, state, reset, mask))
            options = {name: recorded(t) for name, t in options.items()}
        given = self.check_given(given)
        streams, steps = given.shape[:2]
        if reset is not None:
            reset = flags("reset", reset, given)
        if mask is not None:
            mask = flags("mask", mask, given)
        if state is not None:
            state = self.check_state(state, streams, self.spared(options) if options else ())
        if options and options.get("edges") is not None:
            check_edges(options["edges"], self.config.neurons)  # type: ignore[union-attr]
        if options and options.get("present") is not None:
            options["present"], given = self.check_present(options["present"], given)  # type: ignore[operator]
        if options and options.get("dt") is not None:
            options["dt"] = durations(options["dt"], given, mask)
        if streams == 0 or steps == 0:
            return nothing(forward, self, given, state, **options)
        if mask is not None:
            given = given.masked_fill(~mask if self.symbols else ~mask[..., None], 0)
            if options and options.get("recalled") is not None:
                options["recalled"] = options["recalled"].masked_fill(~mask[..., None, None], 0)
        self.check_values(given)
        if reset is None and mask is None:
            return forward(self, given, state, **options)
        given, fresh, lost, kept = sheltered(self, given, state, reset, mask)
        y, after = forward(self, given, fresh, reset=reset, mask=mask, **options)
        if lost is not None:
            y = y.masked_fill(lost.unflatten(-1, (-1, *(1,) * (y.ndim - 2))), torch.nan)
        if kept is not None and state is not None:
            after = State({k: torch.where(like(kept, t), state[k], t) for k, t in after.items()}, after.penalties)
        return y, after

    call._behind = forward  # type: ignore[attr-defined]
    return call


def checked_step(step_: Callable) -> Callable:
    """A `step_` behind the checks of `Checked`."""

    @wraps(step_)
    def call(self: Checked, tokens: Any, state: Any = None, **options: Any) -> tuple[Tensor, State]:
        tokens = self.check_step(tokens)
        streams = tokens.shape[0]
        if state is not None:
            state = self.check_state(state, streams, self.spared(options) if options else ())
            if len(state.fits) < 3:
                # A number that stands for several cannot be changed, nor one that a backward pass may yet need.
                if any(0 in t.stride() or t.requires_grad for t in state.values()):
                    state = state.detach().clone()
                elif state.fits[0] is not None:
                    state.fits = (*state.fits, True)
        if not streams:
            logits, after = self(tokens[:, None], state)
            return logits[:, 0], after
        return step_(self, tokens, state, **options)

    call._behind = step_  # type: ignore[attr-defined]
    return call


def checked_streams(initial_state: Callable) -> Callable:
    """An `initial_state` of a number of streams that can be."""

    @wraps(initial_state)
    def call(self: Checked, batch: Any) -> State:
        if torch.compiler.is_compiling() or type(batch) is torch.SymInt:
            return initial_state(self, batch)
        if not isinstance(batch, Integral) or isinstance(batch, bool) or not 0 <= int(batch) < 2**31:
            raise InputError(f"a state is of a whole number of streams, 0 or more, not of {batch!r}")
        return initial_state(self, batch)

    call._behind = initial_state  # type: ignore[attr-defined]
    return call


def config_of(kind: type, config: Any, given: dict[str, Any]) -> Any:
    """A configuration that a module is to be made from, None for none; raises `InputError` for anything else.

    Fields beside it would be left unheard, and are refused.
    """
    if config is None:
        return None
    if not isinstance(config, kind):
        raise InputError(f"config must be a {kind.__name__}, or give its fields by name, not {named(config)}")
    if given:
        raise InputError(
            f"field '{next(iter(given))}' beside a config would do nothing; change the config, or leave it out"
        )
    return config


def by_forward(method: Callable) -> Callable:
    """Mark a `step_` that only calls `forward`, which checks."""
    method._behind = method  # type: ignore[attr-defined]
    return method


def one_each(tokens: Any) -> Tensor:
    """The symbols of one step, `[B]`; raises `InputError` for another shape."""
    if not isinstance(tokens, Tensor):
        raise InputError(f"a step takes tokens [B], a tensor of one symbol for each stream, not {named(tokens)}")
    if tokens.ndim != 1:
        raise InputError(f"a step takes tokens [B], one symbol for each stream, not {list(tokens.shape)}")
    return tokens


def symbols(tokens: Any) -> Tensor:
    """Symbols `[B, T]` as int64, from any type of whole numbers; raises `InputError` for anything else."""
    if not isinstance(tokens, Tensor):
        raise InputError(f"tokens must be a tensor [B, T] of whole numbers, not {named(tokens)}")
    if tokens.ndim != 2:
        raise InputError(f"tokens must be [B, T], which is [batch, time], not {list(tokens.shape)}")
    return whole(tokens)


def whole(tokens: Tensor) -> Tensor:
    """Symbols as int64; raises `InputError` for types that are not of whole numbers."""
    if tokens.dtype is torch.int64:
        return tokens
    if tokens.dtype not in WHOLE:
        raise InputError(f"tokens must be whole numbers, not {_type(tokens)}; convert them with .long()")
    return tokens.long()


def check_range(tokens: Tensor, vocab: int) -> None:
    """Raise `InputError` for symbols outside the vocabulary, where they can be looked at without waiting."""
    if not legible(tokens) or not tokens.numel():
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
        raise InputError(f"the graph takes a tensor [batch, time, {width}], not {named(x)}{hint}")
    if x.ndim != 3 or x.shape[-1] != width:
        raise InputError(f"the graph takes [batch, time, {width}], not {list(x.shape)}")
    if autocasts(x) and x.is_floating_point():
        return x
    for again in (False, True):
        dtype = module.own(again).dtype
        if dtype is None or x.dtype == dtype:
            return x
    raise InputError(
        f"the graph takes {_type(dtype)}, as its weights are, not {_type(x)}; convert with x.to(torch.{_type(dtype)})"
    )


def check_edges(edges: Any, neurons: int) -> None:
    """Raise `InputError` unless these are `Edges` of so many neurons."""
    if not isinstance(edges, Edges):
        raise InputError(f"edges must be inn.Edges or None, not {named(edges)}; make them with inn.Edges.listed(...)")
    if edges.sources.shape[0] != neurons:
        raise InputError(f"edges must be of the graph's {neurons} neurons, not of {edges.sources.shape[0]}")


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


def _type(t: Tensor | torch.dtype | None) -> str:
    return str(t.dtype if isinstance(t, Tensor) else t).removeprefix("torch.")


def _shape(shape: Any) -> str:
    return "[" + ", ".join(["B", *map(str, shape)]) + "]"
