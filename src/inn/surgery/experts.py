"""A dense feed-forward map in experts: its hidden units in groups, of which a few are computed for each vector."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from inn.compress.blocks import is_linear, rows_of_weight

GATED = ("gate_proj", "up_proj", "down_proj")
PLAIN = (
    ("c_fc", "c_proj"), ("fc1", "fc2"), ("fc_in", "fc_out"), ("dense_h_to_4h", "dense_4h_to_h"),
    ("up_proj", "down_proj"), ("0", "2"),
)  # fmt: skip
"""How the maps of a gated feed-forward map are called, and those of one of two; the last ones are a `Sequential`'s."""


class Maps(NamedTuple):
    """The names of the maps in a feed-forward map: y = down(act(up(x))), or down(act(gate(x)) · up(x))."""

    act: str
    up: str
    down: str
    gate: str | None = None
    drop: str | None = None

    @property
    def key(self) -> str:
        """The map whose rows say what a hidden unit reads."""
        return self.gate or self.up

    @property
    def lifts(self) -> list[str]:
        """The maps to the hidden units."""
        return [self.up] if self.gate is None else [self.gate, self.up]


def maps_of(module: nn.Module) -> Maps | None:
    """The maps of a feed-forward map by their names; None for another module."""
    children = dict(module.named_children())
    linear = {name for name, child in children.items() if is_linear(child)}
    rest = [name for name in children if name not in linear]
    drop = [name for name in rest if isinstance(children[name], nn.Dropout)]
    act = [name for name in rest if name not in drop and not list(children[name].parameters())]
    if len(act) != 1 or len(act) + len(drop) != len(rest) or len(drop) > 1:
        return None
    last = drop[0] if drop else None
    if linear == {*GATED}:
        return Maps(act[0], GATED[1], GATED[2], GATED[0], last)
    found = next((pair for pair in PLAIN if linear == {*pair}), None)
    return None if found is None else Maps(act[0], *found, drop=last)


def units_of(mlp: nn.Module, maps: Maps) -> dict[str, Tensor]:
    """What has an axis of hidden units, by name."""
    names = [f"{name}.{part}" for name in maps.lifts for part in ("weight", "bias")]
    own = dict(mlp.named_parameters())
    return {name: own[name] for name in [*names, f"{maps.down}.weight"] if name in own}


def axis_of(mlp: nn.Module, maps: Maps, name: str) -> int:
    """Which axis of a tensor of `units_of` is of hidden units; GPT-2's maps have theirs the other way round."""
    path, _, part = name.rpartition(".")
    return 0 if part == "bias" else int((path == maps.down) == isinstance(mlp.get_submodule(path), nn.Linear))


class ExpertMLP(nn.Module):
    """A feed-forward map `[..., D]` whose hidden units are in E experts; for each vector `use` of them are computed.

    Expert e has the key k_e `[D]`, the mean of the rows by which its units read, and the `use` largest x · k_e are
    taken, each with weight 1 (after arXiv 2310.10908). There are no parameters of its own, and the maps keep their
    names: their rows are in the order of the experts, so that an expert is a stretch of them. Where all are used, the
    maps are called with their rows as they were, and the result is the dense one's bit for bit.

    What hangs on a map (an adapter, a hook) is heard: all hidden units are computed then, and those of experts that are
    not used count as 0, so that nothing is saved.

    Args:
        dense: the feed-forward map, whose maps are taken over and put in another order.
        of: the expert of each hidden unit `[H]`, all as often.
        use: how many are computed.
    """

    order: Tensor
    keys: Tensor

    def __init__(self, dense: nn.Module, of: Tensor, use: int):
        super().__init__()
        maps = maps_of(dense)
        assert maps is not None
        self.maps, self.use, self.experts = maps, use, int(of.max()) + 1
        for name, child in dense.named_children():
            self.add_module(name, child)
        self._kinds = {name: type(self.get_submodule(name)) for name in (*maps.lifts, maps.down)}
        self._dense = (dense,)  # what it is without experts; its maps are the same ones
        at = rows_of_weight(self.get_submodule(maps.key)).device
        self.register_buffer("order", of.argsort(stable=True).to(at))
        self._reorder(self.order)
        rows = rows_of_weight(self.get_submodule(maps.key)).detach()
        self.register_buffer("keys", rows.unflatten(0, (self.experts, -1)).mean(1))

    @torch.no_grad()
    def _reorder(self, order: Tensor) -> None:
        for name, t in units_of(self, self.maps).items():
            t.copy_(t.index_select(axis_of(self, self.maps, name), order))

    def dense(self) -> nn.Module:
        """The dense map, its rows in their old order again; this module is of no use after that."""
        self._reorder(self.order.argsort())
        return self._dense[0]

    def forward(self, x: Tensor) -> Tensor:
        plain = all(self._bare(self.get_submodule(name), kind) for name, kind in self._kinds.items())
        if self.use == self.experts and plain:
            back, own = self.order.argsort(), units_of(self, self.maps)
            was = {name: t.index_select(axis_of(self, self.maps, name), back) for name, t in own.items()}
            return functional_call(self._dense[0], was, (x,))
        rows = x.reshape(-1, x.shape[-1])
        y = self.few(rows) if plain else self._masked(rows)
        return y.view(*x.shape[:-1], y.shape[-1])

    def _bare(self, m: Any, kind: type) -> bool:
        """Whether a map's weight may be read in place of a call: it is what it was, and nothing hangs on it."""
        hangs = m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m)
        return type(m) is kind and type(m.weight) is nn.Parameter and not hangs

    def _hidden(self, lifted: list[Tensor]) -> Tensor:
        act = self.get_submodule(self.maps.act)
        return act(lifted[0]) if self.maps.gate is None else act(lifted[0]) * lifted[1]

    def best(self, x: Tensor) -> Tensor:
        """The experts of vectors `[n, D]`, `[n, use]`."""
        return (x @ self.keys.to(x.dtype).t()).topk(self.use, -1).indices

    def few(self, x: Tensor) -> Tensor:
        """The result for vectors `[n, D]`, each expert computing those that chose it."""
        chosen = self.best(x).flatten()
        sort = chosen.argsort(stable=True)
        sizes = chosen.bincount(minlength=self.experts).tolist()  # waits for a GPU, once
        up, y = [self._parts(name) for name in self.maps.lifts], None
        down = rows_of_weight(self.get_submodule(self.maps.down)).unflatten(1, (self.experts, -1)).unbind(1)
        for e, rows in enumerate((sort // self.use).split(sizes)):
            if len(rows):
                given = x.index_select(0, rows)
                hidden = self._hidden([F.linear(given, weights[e], biases[e]) for weights, biases in up])
                result = F.linear(hidden, down[e])
                y = x.new_zeros(len(x), result.shape[1], dtype=result.dtype) if y is None else y
                y.index_add_(0, rows, result)  # of each vector once
        y = x.new_zeros(0, len(down[0])) if y is None else y
        bias: Any = self.get_submodule(self.maps.down).bias
        return self._dropped(y if bias is None else y + bias)

    def _parts(self, name: str) -> tuple[Any, Any]:
        """A map's weight and bias, expert by expert."""
        module = self.get_submodule(name)
        bias = getattr(module, "bias", None)
        weights = rows_of_weight(module).unflatten(0, (self.experts, -1)).unbind(0)
        return weights, [None] * self.experts if bias is None else bias.unflatten(0, (self.experts, -1)).unbind(0)

    def _masked(self, x: Tensor) -> Tensor:
        used = torch.zeros(len(x), self.experts, dtype=torch.bool, device=x.device).scatter(1, self.best(x), True)
        hidden = self._hidden([self.get_submodule(name)(x) for name in self.maps.lifts])
        kept = hidden.unflatten(1, (self.experts, -1)) * used[..., None]
        return self._dropped(self.get_submodule(self.maps.down)(kept.flatten(1)))

    def _dropped(self, y: Tensor) -> Tensor:
        return y if self.maps.drop is None else self.get_submodule(self.maps.drop)(y)

    def extra_repr(self) -> str:
        return f"{self.use} of {self.experts} experts of {len(self.order) // self.experts}"


def balanced(rows: Tensor, groups: int, seed: int = 0, steps: int = 25) -> Tensor:
    """The group of each row `[n, d]`, `[n]`: k-means by the cosine, in which every group gets n / groups rows.

    Rows go to the nearest centre that has room; where more want it than it has room for, the nearest get it.

    >>> balanced(torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 0.1], [0.1, 1.0]]), 2).unique(return_counts=True)[1]
    tensor([2, 2])
    """
    rows = F.normalize(rows.detach().float().cpu(), dim=1)
    centres = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:groups]]
    of = torch.full((len(rows),), -1)
    for _ in range(steps):
        fits, room, before = rows @ centres.t(), torch.full((groups,), len(rows) // groups), of
        of = torch.full_like(of, -1)
        while len(free := (of < 0).nonzero().flatten()):
            wanted = fits[free].argmax(1)
            for g in wanted.unique().tolist():
                mine = free[wanted == g]
                taken = mine[fits[mine, g].argsort(descending=True)[: int(room[g])]]
                of[taken] = g
                room[g] -= len(taken)
            fits[:, room == 0] = -torch.inf
        if torch.equal(of, before):
            break
        centres = F.normalize(torch.zeros_like(centres).index_add_(0, of, rows), dim=1)
    return of
