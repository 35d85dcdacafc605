"""What a model's maps are used for by the data of a run: the directions of their inputs that carry most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from inn.data.streams import Batch
from inn.models.names import filed
from inn.models.sequence import SequenceModel
from inn.models.signal import Entry
from inn.nn.modes import device_of, evaluating
from inn.nn.population import NeuronLinear
from inn.nn.recall.base import Recall
from inn.runs.directory import Run
from inn.runs.load import load_with_data

Spaces = dict[str, Tensor]
"""By the name of a map's weight, `[P, K, I]`: K orthonormal rows for each of P sets of weights, zeros where it has
fewer. P is 1 where all sets are used with the same inputs, or there is one. Of a table with a row for each symbol, a
map of symbols, `[V]` bool: the rows that were read."""


STEPS, RATE, MOMENTUM, LIMIT = 1000, 0.01, 0.9, 10.0
"""Of Hebb's rule: its steps, their size, how long a step is remembered, and the largest change of a number."""
_LARGEST = 10.0
"""What the largest eigenvalue of the inputs is scaled to for it, as their units are anybody's."""


def space_of(
    run: str,
    symbols: int = 20_000,
    *,
    energy: float = 0.95,
    rank: int = 0,
    known: Spaces | None = None,
    by: str = "svd",
) -> Spaces:
    """The directions that the maps of a run's model are used in, on the text or the examples that it was trained on.

    Args:
        symbols: how many are read, from the start of its training data.
        energy, rank, by: see `directions`.
        known: directions that are there already, which stay; those that come are orthogonal to them.

    Raises `InputError` where there is no such run, and where its data is no longer there.
    """
    model, dataset = load_with_data(run)
    config = Run(run).config()
    streams = dataset.batches(config.data, config.train.seed, slice(0, config.data.batch))

    def batches() -> Iterator[Batch]:
        left = symbols
        while left > 0:
            batch = streams.next()
            left -= batch.targets.shape[0] * batch.targets.shape[1]
            yield batch

    carry = config.data.text and config.data.order != "random"
    return directions(model, batches(), carry=carry, energy=energy, rank=rank, known=known, by=by)


@torch.no_grad()
def directions(
    model: SequenceModel,
    batches: Iterable[Batch],
    *,
    carry: bool = True,
    energy: float = 0.95,
    rank: int = 0,
    known: Spaces | None = None,
    by: str = "svd",
) -> Spaces:
    """The directions in which the inputs of a model's linear maps go while it reads batches.

    Args:
        carry: whether the state goes on from batch to batch.
        energy: the share of the sum of squares of the inputs that the directions are to hold, those known counted.
        rank: how many of a map they are at most, those known not counted; 0: as many as that takes.
        known: directions that are there already.
        by: `svd`, or `hebb`: exactly `rank` new ones, learned (`hebbian`); `energy` says nothing then.
    """
    sums: dict[str, Tensor] = {}
    tables = tables_of(model)
    used = torch.zeros(model.config.vocab if tables else 0, dtype=torch.bool)

    def seen() -> Iterator[Batch]:
        for batch in batches:
            if tables:
                used[batch.inputs.cpu()] = True
            yield batch

    for found in _squares(model, seen(), carry):
        for name, square in found.items():
            sums[name] = sums[name] + square if name in sums else square
    old = known or {}
    new = {}
    for name, square in sums.items():
        there = old.get(name)
        rows = _learned(square, there, rank) if by == "hebb" else _rows(square, there, energy, rank)
        new[name] = _with(there, rows)
    tables = [name for name in tables if not old or name in old]  # else nobody knows which rows were read before
    return old | new | {name: used | old[name].cpu() if old else used.clone() for name in tables}


def tables_of(model: nn.Module) -> list[str]:
    """The names of what has a row for each symbol that a model reads: its embedding, and that of what is recalled."""
    embedding = getattr(model, "embedding", None)
    own = {id(getattr(m, name)) for m in model.modules() if isinstance(m, Recall) for name in m.by_symbol}
    own |= {id(embedding.weight)} if isinstance(embedding, nn.Embedding) else set()
    return [filed(name) for name, p in model.named_parameters() if id(p) in own]


def hebbian(square: Tensor, rank: int, known: Tensor | None = None, seed: int = 0) -> Tensor:
    """New rows H `[rank, I]` that Hebb's rule with lateral connections learns; they come near to orthonormal ones.

    With y = H x and x̂ = Hᵀ y + Kᵀ K x it is ΔH = E[y (x - x̂)ᵀ], from rows at right angles on (after arXiv
    2402.11984). The mean is over all that was read.

    Args:
        square: E[x xᵀ], `[I, I]`, in any unit.
        known: K `[K, I]`, directions that are there already.
    """
    draw = torch.Generator().manual_seed(seed)
    start = torch.randn(square.shape[0], rank, generator=draw, dtype=square.dtype)
    k = square.new_zeros(0, square.shape[0]) if known is None else known.to(square)
    start = start - k.T @ (k @ start)
    h, moved = torch.linalg.qr(start)[0].T, torch.zeros(rank, square.shape[0]).to(square)
    c = square * (_LARGEST / torch.linalg.matrix_norm(square, 2).clamp_min(1e-30))
    for _ in range(STEPS):
        heard = h @ c
        change = heard - (heard @ h.T) @ h - (heard @ k.T) @ k
        moved = MOMENTUM * moved + (1 - MOMENTUM) * change.clamp(-LIMIT, LIMIT)
        h = h + RATE * moved
    return h


def drift(rows: Tensor) -> float:
    """How far rows `[K, I]` are from orthonormal: the largest singular value of H Hᵀ - 1."""
    own = rows[rows.any(1)]
    return float(torch.linalg.matrix_norm(own @ own.T - torch.eye(len(own)).to(own), 2)) if len(own) else 0.0


def _learned(square: Tensor, known: Tensor | None, rank: int) -> list[Tensor]:
    """`hebbian` rows of each set of weights, made orthonormal, and orthogonal to those known."""
    found = []
    for p, own in enumerate(square):
        k = own.new_zeros(0, own.shape[0]) if known is None else known[p if len(known) > 1 else 0].to(own)
        k = k[k.any(1)]
        room = min(rank, own.shape[0] - len(k))
        if room < 1:
            found.append(own.new_zeros(0, own.shape[0]))
            continue
        live = own.diagonal() > 0  # what is never there is not learned of
        h = own.new_zeros(min(room, int(live.sum())), own.shape[0])
        h[:, live] = hebbian(own[live][:, live], len(h), k[:, live])
        for _ in range(2):
            h = h - (h @ k.T) @ k
            h = torch.linalg.qr(h.T)[0].T
        found.append(h)
    return found


def share(model: nn.Module, spaces: Mapping[str, Tensor]) -> float:
    """The share of the directions of all maps that are kept, each map counting by its numbers."""
    shapes = {filed(name): p.shape for name, p in model.named_parameters()}
    taken = sum(float(h.sum() if h.ndim == 1 else h.square().sum() / len(h)) / h.shape[-1] * math.prod(shapes[name])
                for name, h in spaces.items())  # fmt: skip
    return taken / max(1, sum(math.prod(shapes[name]) for name in spaces))


def _squares(model: SequenceModel, batches: Iterable[Batch], carry: bool) -> Iterator[dict[str, Tensor]]:
    """By weight, Σ x xᵀ / S over the inputs x of a batch `[P, I, I]`, in float64."""
    tied = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}  # also used as no map
    names = {id(p): filed(name) for name, p in model.named_parameters() if id(p) not in tied}
    device, found, state = device_of(model), {}, None

    def see(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        name, x = names[id(module.weight)], args[0]  # type: ignore[arg-type]
        if not x.is_floating_point():
            return
        x = (torch.cat((x, args[1].to(x.dtype)), -1) if isinstance(module, Entry) else x).double()
        if isinstance(module, NeuronLinear) and len(module.weight) > 1 and x.shape[2] > 1:
            square = torch.einsum("btni,btnj->nij", x, x) / (x.shape[0] * x.shape[1])
        else:
            x = x.reshape(-1, x.shape[-1])
            square = (x.T @ x / len(x))[None]
        found[name] = found[name] + square if name in found else square

    with ExitStack() as hooks, evaluating(model):
        for module in model.modules():
            if isinstance(module, NeuronLinear | nn.Linear) and id(module.weight) in names:
                hooks.callback(module.register_forward_pre_hook(see).remove)
        for batch in batches:
            inputs, reset = batch.inputs.to(device), None
            if batch.reset is not None and carry:
                reset = torch.zeros(inputs.shape[:2], dtype=torch.bool, device=device)
                reset[:, 0] = batch.reset.to(device)
            found.clear()
            state = model(inputs, state if carry else None, reset=reset)[1]
            yield dict(found)


def _rows(square: Tensor, known: Tensor | None, energy: float, rank: int) -> list[Tensor]:
    """New orthonormal rows `[K, I]` of each set of weights."""
    found = []
    for p, own in enumerate(square):
        rest, total = own, own.trace()
        if known is not None:
            h = known[p if len(known) > 1 else 0].to(own)
            rest = own - h.T @ (h @ own)
            rest = rest - (rest @ h.T) @ h
        values, vectors = torch.linalg.eigh((rest + rest.T) / 2)
        values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
        missing = values.sum() - (1 - energy) * total  # what the new ones have to hold
        before = values.cumsum(0) - values
        count = int(((before < missing) & (values > 1e-12 * total)).sum())
        found.append(vectors.T[: min(count, rank) if rank else count])
    return found


def _with(known: Tensor | None, rows: list[Tensor]) -> Tensor:
    """Rows of all sets of weights, behind those known, as `[P, K, I]`."""
    sets = max(len(rows), 0 if known is None else len(known))
    parts = []
    for p in range(sets):
        new = rows[p if len(rows) > 1 else 0]
        old = None if known is None else known[p if len(known) > 1 else 0].to(new)
        both = new if old is None else torch.cat((old[old.any(1)], new))
        parts.append(both)
    result = parts[0].new_zeros(sets, max(map(len, parts)), parts[0].shape[1])
    for p, both in enumerate(parts):
        result[p, : len(both)] = both
    return result.float()
