"""The state of a model: everything needed to continue a sequence, as one object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import KeyEntry, MappingKey, register_pytree_node

from inn.system.errors import InputError

Key = tuple[int, str]
WHOLE = frozenset(
    (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64)
)
"""Types of whole numbers."""


def grouped(part: str, group: int) -> str:
    """The name of a part that belongs to one group of a mixed population: `ssm@1`."""
    return f"{part}@{group}"


def ungrouped(parts: Mapping[str, Tensor], group: int) -> dict[str, Tensor]:
    """The parts of one group, under their own names."""
    suffix = f"@{group}"
    return {name.removesuffix(suffix): t for name, t in parts.items() if name.endswith(suffix)}


class State(Mapping[Key, Tensor]):
    """A tree of tensors keyed by (round, part), each `[B, N, ...]`: batch first, neurons second.

    States are values: every method returns a new one and none changes its input. Models without a population (for
    example an LSTM) have N = 1 and count their layers as rounds.

    Attributes:
        penalties: terms that the training call that returned this state adds to the loss, in nats by name; scalars.
            They belong to that call only: states made from this one do not have them.

    >>> s = State({(0, "ssm"): torch.zeros(2, 4, 8)})
    >>> s.select_neurons([1, 3])[0, "ssm"].shape
    torch.Size([2, 2, 8])
    """

    VERSION = 1
    fits: tuple[Any, ...] = (None, 0)
    """Whose state this is known to be, of how many streams, and that each number has a place of its own: what
    `inn.nn.arguments` has found out, so that a step need not look again."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "fits"}

    def __init__(self, tensors: Mapping[Key, Tensor], penalties: Mapping[str, Tensor] | None = None):
        if not isinstance(tensors, Mapping):
            raise InputError(f"a state is made of tensors by (round, part), not of a {type(tensors).__name__}")
        self._tensors = dict(tensors)
        self.penalties = dict(penalties or {})

    def __getitem__(self, key: Key) -> Tensor:
        return self._tensors[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        parts = ", ".join(f"{r}.{p} {list(t.shape)}" for (r, p), t in self.items())
        return f"State({parts})"

    def round(self, r: int) -> dict[str, Tensor]:
        """The parts of round `r`, by name."""
        return {part: t for (q, part), t in self._tensors.items() if q == r}

    def _map(self, f) -> State:
        return State({key: f(t) for key, t in self.items()})

    def check_batch(self, batch: int) -> None:
        """Raise `InputError` unless the state is of `batch` streams."""
        for key, t in self._tensors.items():
            if t.shape[0] != batch:
                hint = f"; repeat it with state.select_batch([0] * {batch})" if t.shape[0] == 1 and batch > 1 else ""
                raise InputError(f"the state's {key} is of {t.shape[0]} streams, the input of {batch}{hint}")

    def detach(self) -> State:
        """Cut the state off from the graph of gradients (truncated backpropagation through time)."""
        return self._map(Tensor.detach)

    def clone(self) -> State:
        """Copy every tensor."""
        return self._map(Tensor.clone)

    def to(self, *args, **kwargs) -> State:
        """Move every tensor and cast those of floating point, as `Module.to` does: counts and symbols stay integers."""

        def move(t: Tensor) -> Tensor:
            return t.to(*args, **kwargs) if t.is_floating_point() else t.to(t.new_empty(0).to(*args, **kwargs).device)

        return self._map(move)

    def float(self) -> State:
        """Numbers as float32; see `to`."""
        return self.to(torch.float32)

    def double(self) -> State:
        """Numbers as float64; see `to`."""
        return self.to(torch.float64)

    def cpu(self) -> State:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self, device: int | str | torch.device = "cuda") -> State:
        """On a GPU."""
        return self.to(f"cuda:{device}" if isinstance(device, int) else device)

    def select_batch(self, rows: Sequence[int] | Tensor) -> State:
        """Keep these rows of the batch, in this order (repeats allowed: beams)."""
        chosen = _places("streams", rows, min((len(t) for t in self.values()), default=1 << 62))
        return self._map(lambda t: t[chosen.to(t.device)])

    def concat_batch(self, *others: State) -> State:
        """Join the streams of states of one model, these first; `select_batch` takes them apart."""
        if any(not isinstance(other, State) or set(other) != set(self) for other in others):
            raise InputError("only states of the same rounds and parts can be joined")
        return State({key: _joined([t, *(other[key] for other in others)], 0) for key, t in self.items()})

    def select_neurons(self, neurons: Sequence[int] | Tensor) -> State:
        """Keep these neurons, in this order; of a mixed population group by group."""
        counts = ((*self._range(*key), t.shape[1]) for key, t in self.items())
        most = max((own if first is None else first + size for first, size, own in counts), default=1 << 62)
        chosen = _places("neurons", neurons, most).tolist()
        found = {}
        for (r, part), t in self.items():
            first, size = self._range(r, part)
            own = chosen if first is None else [n - first for n in chosen if first <= n < first + size]
            found[r, part] = t[:, torch.as_tensor(own, dtype=torch.long, device=t.device)]
        if chosen != sorted(chosen) and any("@" in part for _, part in self):
            raise InputError("the neurons of a mixed population stay in the order of their groups")
        return State(found)

    def neuron(self, key: Key, n: int) -> int | None:
        """Where neuron `n` stands in a part; None in a part of another group of a mixed population."""
        first, size = self._range(*key)
        if first is None:
            return n
        return n - first if first <= n < first + size else None

    def _range(self, r: int, part: str) -> tuple[int | None, int]:
        """The first neuron of a part that belongs to a group, and how many it has; None for a part of all neurons."""
        if "@" not in part:
            return None, 0
        group = int(part.rpartition("@")[2])
        sizes = {int(name.rpartition("@")[2]): t.shape[1] for name, t in self.round(r).items() if "@" in name}
        return sum(n for g, n in sizes.items() if g < group), sizes[group]

    def concat_neurons(self, other: State) -> State:
        """Join two populations that run side by side; both need the same rounds and parts."""
        if not isinstance(other, State) or set(self) != set(other):
            raise InputError("states of different rounds or parts cannot be joined")
        if any("@" in part for _, part in self):
            raise InputError("states of mixed populations cannot be joined: their neurons are in groups")
        return State({key: _joined([t, other[key]], 1) for key, t in self.items()})

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        """A copy that is cut off from the graph of gradients, as PyTorch copies no tensor that is part of one."""
        penalties = {name: t.detach().clone() for name, t in self.penalties.items()}
        return State(self._map(lambda t: t.detach().clone()), penalties)

    def state_dict(self) -> dict[str, Tensor]:
        """`to_tensors`, as PyTorch's distributed checkpoints ask for it (`dcp.save({"state": state})`)."""
        return self.to_tensors()

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Become the state that was saved, as `dcp.load` asks for it: the one method that changes a state."""
        self._tensors, self.fits = dict(self.from_tensors(tensors)._tensors), (None, 0)

    @property
    def bytes(self) -> int:
        """Bytes that the state takes."""
        return sum(t.numel() * t.element_size() for t in self.values())

    def to_tensors(self) -> dict[str, Tensor]:
        """The state as a flat `{"v1/round/part": tensor}` for a file."""
        return {f"v{self.VERSION}/{r}/{part}": t.contiguous() for (r, part), t in self.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> State:
        """Read back what `to_tensors` wrote; raises `ValueError` for a newer version."""
        tree = {}
        for name, t in tensors.items():
            version, r, part = name.split("/", 2)
            if int(version[1:]) > cls.VERSION:
                raise ValueError(f"state of version {version[1:]}, newer than this library's {cls.VERSION}")
            tree[int(r), part] = t
        return cls(tree)


def _places(what: str, chosen: Any, count: int) -> Tensor:
    """Places `[n]` on an axis of `count`, int64; raises `InputError` for what names none."""
    try:
        places = torch.as_tensor(chosen)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} must be a list of whole numbers, not {type(chosen).__name__}") from error
    if places.ndim != 1 or (places.numel() and places.dtype not in WHOLE):
        raise InputError(f"{what} must be a list of whole numbers, not {list(places.shape)} {places.dtype}")
    if places.is_cpu and places.numel() and not -count <= int(places.min()) <= int(places.max()) < count:
        raise InputError(f"{what} must be from 0 to {count - 1}, as many as the state has, not {places.tolist()[:8]}")
    return places.long()


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    shapes = {(*t.shape[:dim], *t.shape[dim + 1 :], t.dtype, t.device) for t in parts}
    if len(shapes) > 1:
        raise InputError(
            f"states of different models, types or devices cannot be joined: {list(parts[0].shape)} and others"
        )
    return torch.cat(parts, dim)


def _flatten_with_keys(state: State) -> tuple[list[tuple[KeyEntry, Any]], Any]:
    parts: list[tuple[Any, Any]] = [(MappingKey(key), t) for key, t in (*state.items(), *state.penalties.items())]
    return parts, _keys(state)


def _keys(state: State) -> list[Any]:
    """What the tensors of a flattened state are: keys of its parts, then names of its penalties."""
    return [*state, *state.penalties]


def _unflatten(tensors: Iterable[Any], keys: list[Any]) -> State:
    found = dict(zip(keys, tensors, strict=True))
    return State(
        {k: t for k, t in found.items() if isinstance(k, tuple)}, {k: t for k, t in found.items() if isinstance(k, str)}
    )


# What PyTorch needs to see through a state: `torch.compile`, `torch.export` (and writing what was exported to a file).
register_pytree_node(
    State,
    lambda state: ([*state.values(), *state.penalties.values()], _keys(state)),
    _unflatten,
    flatten_with_keys_fn=_flatten_with_keys,
    serialized_type_name="inn.State",
    to_dumpable_context=lambda keys: [key if isinstance(key, str) else list(key) for key in keys],
    from_dumpable_context=lambda keys: [key if isinstance(key, str) else tuple(key) for key in keys],
)
torch.serialization.add_safe_globals([State])  # the example inputs in such a file; a state is tensors and nothing else
