"""Fewer numbers in the cache: keys and values of a layer in one state, ranks given where the loss minds most.

What counts is not parameters but what is kept of a symbol, so a direction costs one number wherever it is. Joint states
are never worse than separate ones of as many numbers together: these are joint ones of a special form.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection, find_blocks, weight_of
from inn.compress.passes import Passes, StageReport
from inn.compress.plans import CompressionPlan
from inn.compress.replace import put_group
from inn.compress.run import Outcome, coverage
from inn.compress.states import energies, factorise, lost
from inn.compress.topologies import Block, BlockGroup
from inn.system.errors import InputError

PLAN = CompressionPlan("kv", weigh="fisher", refit=False, sequential="no", balance=False)
"""How errors of keys and values are measured: by what the loss minds, in one unit over all layers."""


@torch.no_grad()
def compress_cache(
    model: nn.Module, rows: Tensor, keep: float = 0.5, *, report: StageReport = lambda what, done, of: None
) -> Outcome:
    """Put keys and values of every layer into joint states, so that `LatentCache` keeps a share of the numbers.

    All other projections stay as they are, and so do the layers whose states would be as many as their keys and values.

    Args:
        model: a decoder of Hugging Face's, dense, with keys and values of their own.
        rows: `[S, T]` int64: the text it is calibrated on, in rows; gradients are taken on an eighth of it.
        keep: the share of the numbers that the cache keeps of a symbol, in (0, 1].
        report: called with what is being done, how much of it is done, and how much there is.

    Raises `InputError` as `inn.compress.run.compress` does, and for a model without such keys and values.
    """
    covered = coverage(model, rows, "kv", keep)
    blocks = {b: p for b, p in find_blocks(model).items() if b.role in "kv"}
    layers = sorted({b.layer for b in blocks})
    groups: list[BlockGroup] = [tuple(b for b in (Block(i, "k"), Block(i, "v")) if b in blocks) for i in layers]
    if not groups or any(len(group) < 2 for group in groups):
        raise InputError(f"{type(model).__name__} has no keys and values in layers of their own to share states")
    passes = Passes(model, rows, PLAN, blocks, {}, report)
    known = {i: energies(found.weights, found.moments) for i, found in passes.sections(groups, "energies", passes.few)}
    ranks = share([known[i] for i in range(len(groups))], keep)
    outcome = Outcome(coverage=covered)
    made: dict[int, tuple[list[Projection], Tensor, tuple[Tensor, ...]]] = {}
    for i, found in passes.sections(groups, "states"):
        if ranks[i] >= min(sum(map(len, found.weights)), found.weights[0].shape[1]):
            outcome.dense += groups[i]
            continue
        states = factorise(found.weights, found.moments, ranks[i])
        outputs = tuple(q / scale for q, scale in zip(states.outputs, found.scales))
        made[i] = [blocks[b] for b in groups[i]], states.inputs, outputs
        outcome.groups.append((groups[i], ranks[i]))
        outcome.lost |= dict(zip(groups[i], lost(states, found.weights, found.moments), strict=True))
    for i, (places, inputs, outputs) in made.items():  # afterwards: every group is calibrated on the dense model
        dtype = weight_of(model, places[0]).dtype
        put = put_group(model, places, ranks[i])
        put[0].reads.weight.copy_(inputs.T.to(dtype))
        for layer, q in zip(put, outputs, strict=True):
            layer.write.weight.copy_(q.to(dtype))
    return outcome


def share(found: list[Tensor], keep: float) -> list[int]:
    """The ranks, together `keep` of the directions there are, that keep most energy; at least one each.

    >>> share([torch.tensor([9.0, 4.0, 1.0]), torch.tensor([3.0, 2.0, 0.0])], 0.5)
    [2, 1]
    """
    if not 0 < keep <= 1:
        raise InputError(f"keep must be more than 0 and at most 1, not {keep}")
    total = max(len(found), round(keep * sum(map(len, found))))
    group = torch.cat([torch.full((len(e) - 1,), i) for i, e in enumerate(found)])
    order = torch.cat([e[1:] for e in found]).argsort(descending=True, stable=True)
    counts = torch.bincount(group[order[: total - len(found)]], minlength=len(found))
    return (counts + 1).tolist()
