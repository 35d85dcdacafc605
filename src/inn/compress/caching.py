"""Fewer numbers in the cache: keys and values of a layer in one state, ranks given where the loss minds most.

What counts is not parameters but what is kept of a symbol, so a direction costs one number wherever it is. Joint states
are never worse than separate ones of as many numbers together: these are joint ones of a special form.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection, find_blocks, is_linear, weight_of
from inn.compress.calibrate import Stream, joint_importances
from inn.compress.passes import StageReport
from inn.compress.replace import put_states
from inn.compress.run import Outcome, compressing, coverage
from inn.compress.states import States, energies, factorise, lost
from inn.compress.topologies import Block
from inn.system.errors import InputError

_SEEN = 16
"""Symbols for every key and value of a layer: gradients are taken on so much of the text."""
_DAMPED = 0.01
"""Of the mean, what is added to how much every output matters: the text is a sample."""


@torch.no_grad()
def compress_cache(
    model: nn.Module, rows: Tensor, keep: float = 0.5, *, report: StageReport = lambda what, done, of: None
) -> Outcome:
    """Put keys and values of every layer into joint states, so that `LatentCache` keeps a share of the numbers.

    Errors are weighed on both sides: by the moments of what is read (as SVD-LLM does), and by how much the loss minds
    errors of all keys and values of a layer together (K-FAC). All other projections stay as they are, and so do the
    layers whose states would be as many as their keys and values.

    Args:
        model: a decoder of Hugging Face's, dense, with keys and values in layers of their own.
        rows: `[S, T]` int64: the text it is calibrated on, in rows; gradients are taken on a few of them.
        keep: the share of the numbers that the cache keeps of a symbol, in (0, 1].
        report: called with what is being done, how much of it is done, and how much there is.

    Raises `InputError` as `inn.compress.run.compress` does, and for a model without such keys and values.

    Example: ``compress_cache(model, rows, 0.5); model.generate(ids, past_key_values=LatentCache(model))``
    """
    with compressing(model):
        return _compress(model, rows, keep, report)


def _compress(model: nn.Module, rows: Tensor, keep: float, report: StageReport) -> Outcome:
    outcome = Outcome(coverage=coverage(model, rows, "kv", keep))
    blocks, groups = pairs_of(model)
    outputs = max(sum(len(weight_of(model, blocks[b])) for b in g) for g in groups)
    few = rows[:: max(1, rows.numel() // (_SEEN * outputs))]
    minded = joint_importances(
        model, few, [[blocks[b] for b in g] for g in groups], lambda done, of: report("gradients", done, of)
    )
    stream, moments = Stream(model, rows), {}
    weights, inverses = [], []
    for i, (key, _) in enumerate(groups):
        found, stream.batches = stream.moments(blocks, key.layer, stream.batches)
        moments[i] = found[key]
        root, inverse = _roots(minded[i])
        weights.append(root @ torch.cat([weight_of(model, blocks[b]).double() for b in groups[i]]))
        inverses.append(inverse)
        report("states", i + 1, len(groups))
    ranks = share([energies([w], [moments[i]]) for i, w in enumerate(weights)], keep)
    for i, (group, rank) in enumerate(zip(groups, ranks)):
        if rank >= min(weights[i].shape):
            outcome.dense += group
            continue
        states = factorise([weights[i]], [moments[i]], rank)
        writes = (inverses[i] @ states.outputs[0]).split([len(weight_of(model, blocks[b])) for b in group])
        put_states(model, [blocks[b] for b in group], States(states.inputs, writes, states.energies))
        outcome.groups.append((group, rank))
        outcome.lost |= dict.fromkeys(group, lost(states, [weights[i]], [moments[i]])[0])
    return outcome


def pairs_of(model: nn.Module) -> tuple[dict[Block, Projection], list[tuple[Block, Block]]]:
    """Where keys and values are, and those of each layer; `InputError` for a model whose cache takes no states."""
    blocks = {b: p for b, p in find_blocks(model).items() if b.role in "kv"}
    groups = [(Block(i, "k"), Block(i, "v")) for i in sorted({b.layer for b in blocks})]
    if any(b not in blocks or not is_linear(model.get_submodule(blocks[b].path)) for g in groups for b in g):
        raise InputError(f"{type(model).__name__} has no keys and values in every layer to share states")
    if len({blocks[b].path for g in groups for b in g}) < len(blocks):
        raise InputError(
            f"{type(model).__name__} has keys and values in one layer; a latent cache is for separate ones"
        )
    return blocks, groups


def share(found: list[Tensor], keep: float) -> list[int]:
    """The ranks, together `keep` of the directions there are, that keep most energy; at least one each.

    >>> share([torch.tensor([9.0, 4.0, 1.0]), torch.tensor([3.0, 2.0, 0.0])], 0.5)
    [2, 1]
    """
    total = max(len(found), round(keep * sum(map(len, found))))
    group = torch.cat([torch.full((len(e) - 1,), i) for i, e in enumerate(found)])
    order = torch.cat([e[1:] for e in found]).argsort(descending=True, stable=True)
    counts = torch.bincount(group[order[: total - len(found)].to(group.device)], minlength=len(found))
    return (counts + 1).tolist()


def _roots(matters: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric root of a moment of gradients, damped, and its inverse."""
    damped = matters + (_DAMPED * matters.diagonal().mean()).clamp(min=1e-30) * torch.eye(len(matters)).to(matters)
    values, vectors = torch.linalg.eigh(damped)
    sizes = values.clamp(min=values[-1] * 1e-12).sqrt()
    return (vectors * sizes) @ vectors.T, (vectors / sizes) @ vectors.T
