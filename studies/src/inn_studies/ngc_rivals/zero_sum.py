"""Zero Sum SVD (arXiv 2602.02848): directions are dropped so that what the loss should change by adds up to nothing."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inn.compress import Outcome
from inn.compress.blocks import find_blocks, rows_of_weight, weight_of
from inn.compress.calibrate import Moments, Stream
from inn.compress.replace import put_states
from inn.compress.states import States, dense_size, factorise, lost, per_rank, shapes_of

if TYPE_CHECKING:
    from inn.compress.allocate import Shapes
    from inn.compress.blocks import Projection

SEEN, AGAIN = 2048, 1024
"""Symbols that the gradient is taken on: of the dense model, and for each correction."""
CORRECTIONS = 10
"""The most that the paper has; more are better (stories260K, all at 80 %: 17.9 without, 12.2 with 5, 10.9 with 10)."""


@torch.no_grad()
def zero_sum(model: nn.Module, rows: Tensor, keep: float, roles: str | None = None) -> Outcome:
    """Zero Sum SVD, in place: SVD-LLM's factorisation, ranks by the loss's gradient, and corrected along it.

    Of each weight the directions go in the order of what they carry; which weight is next is said by `zero_sum_ranks`.
    What is left goes `CORRECTIONS` times towards the dense weight as far as one gradient of the loss leads there, and
    is factorised again with the same rank.

    Args:
        model: a decoder of Hugging Face's.
        rows: `[S, T]` int64, the text.
        keep: the share of the parameters of all projections, or of `roles`.
    """
    places = {block: p for block, p in find_blocks(model).items() if roles is None or block.role in roles}
    stream, moments = Stream(model, rows), Moments()
    for layer in range(len(stream.layers)):
        here, stream.batches = stream.moments(places, layer, stream.batches)
        moments |= here
    dense = {block: weight_of(model, p).double() for block, p in places.items()}
    shapes = [shapes_of([weight]) for weight in dense.values()]
    slopes = gradients(model, rows[: max(1, SEEN // rows.shape[1])], places.values())
    changes = [changed_by(w, moments[b], g) for (b, w), g in zip(dense.items(), slopes)]
    ranks = dict(zip(dense, zero_sum_ranks(changes, shapes, keep * sum(map(dense_size, shapes)))))
    outcome = Outcome(dense=[block for block, rank in ranks.items() if rank is None])
    small = {block: rank for block, rank in ranks.items() if rank is not None}
    states = {block: factorise([dense[block]], [moments[block]], rank) for block, rank in small.items()}
    drawing = torch.Generator().manual_seed(0)
    for _ in range(CORRECTIONS):
        for block, one in states.items():
            weight_of(model, places[block]).copy_(one.weight(0, dense[block].shape[1]))
        drawn = torch.randperm(len(rows), generator=drawing)[: max(1, AGAIN // rows.shape[1])]
        slopes = gradients(model, rows[drawn], [places[block] for block in small])
        states = {
            block: factorise([_corrected(dense[block], one, slope)], [moments[block]], small[block])
            for (block, one), slope in zip(states.items(), slopes)
        }
    for block, one in states.items():
        (outcome.lost[block],) = lost(one, [dense[block]], [moments[block]])
        outcome.groups.append(((block,), one.rank))
        put_states(model, [places[block]], one)
    return outcome


def gradients(model: nn.Module, rows: Tensor, places: Iterable[Projection]) -> list[Tensor]:
    """The gradient of the mean cross-entropy of `rows` at each weight, `[m, n]` float64."""
    places = list(places)
    paths = list(dict.fromkeys(p.path for p in places))
    weights: list[nn.Parameter] = [model.get_submodule(path).weight for path in paths]  # type: ignore[misc]
    wanted, sums = [w.requires_grad for w in weights], [torch.zeros_like(w) for w in weights]
    with torch.enable_grad():
        for weight in weights:
            weight.requires_grad_(True)
        for row in rows.split(1):
            logits = model(input_ids=row, use_cache=False).logits[0, :-1].float()
            loss = nn.functional.cross_entropy(logits, row[0, 1:]) / len(rows)
            for total, gradient in zip(sums, torch.autograd.grad(loss, weights)):
                total += gradient
        for weight, before in zip(weights, wanted):
            weight.requires_grad_(before)
    found = {path: rows_of_weight(model.get_submodule(path), total) for path, total in zip(paths, sums)}
    return [found[p.path][p.first : p.last].double() for p in places]


def changed_by(weight: Tensor, moment: Tensor, gradient: Tensor) -> Tensor:
    """What the loss changes by, to first order, as each direction of a weight goes: `[r]`, the largest direction first.

    In the paper -s u^T H v, with W S = U s V^T, S S^T the moment and H = G S^-T; as s v^T S^-1 = u^T W, it is
    -u^T G W^T u, without an inverse.
    """
    states = factorise([weight], [moment], min(weight.shape))
    return -((states.outputs[0].T @ gradient) * states.inputs.T).sum(1)


def zero_sum_ranks(changes: Sequence[Tensor], shapes: Sequence[Shapes], budget: float) -> list[int | None]:
    """Ranks that cost a budget at most, found by dropping directions one by one; None for weights that stay dense.

    Next to go is the last direction of some weight: while the changes so far add up to 0 or less, of those that are
    said to raise the loss, else of those to lower it, the one that changes it least. A rank counts as many parameters
    as dense weights at most, and stays dense then.

    >>> changes = [torch.tensor([5.0, 2.0, 1.0]), torch.tensor([5.0, -1.5, -0.5])]
    >>> zero_sum_ranks(changes, [[(6, 3)], [(6, 3)]], 27.0)
    [None, 1]
    """
    costs, sizes = [per_rank(s) for s in shapes], [dense_size(s) for s in shapes]
    ranks, total, left = [len(c) for c in changes], 0.0, float(sum(sizes))
    raising: list[tuple[float, int]] = []
    lowering: list[tuple[float, int]] = []

    def offer(g: int) -> None:
        if ranks[g] > 1:
            change = float(changes[g][ranks[g] - 1])
            heapq.heappush(raising if change >= 0 else lowering, (abs(change), g))

    for g in range(len(ranks)):
        offer(g)
    while left > budget and (raising or lowering):
        first, second = (raising, lowering) if total <= 0 else (lowering, raising)
        g = heapq.heappop(first or second)[1]
        total += float(changes[g][ranks[g] - 1])
        before = min(sizes[g], ranks[g] * costs[g])
        ranks[g] -= 1
        left -= before - min(sizes[g], ranks[g] * costs[g])
        offer(g)
    return [None if rank * cost >= size else rank for rank, cost, size in zip(ranks, costs, sizes)]


def _corrected(dense: Tensor, states: States, gradient: Tensor) -> Tensor:
    """A truncated weight, moved by the part of what it lacks that lies along the gradient."""
    now = states.weight(0, dense.shape[1])
    return now + (gradient * (dense - now)).sum() / gradient.square().sum().clamp_min(1e-30) * gradient
