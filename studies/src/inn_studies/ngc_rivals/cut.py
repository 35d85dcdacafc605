"""MoDeGPT (arXiv 2408.09632): whole layers with fewer inner dimensions, and its first step alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from inn.compress import Outcome
from inn.compress.blocks import Projection, find_blocks, weight_of
from inn.compress.calibrate import Stream
from inn.compress.measure import score, size
from inn.compress.neurons import fitted
from inn.compress.neurons_layers import narrow, neuron_groups
from inn.compress.topologies import Block
from inn.system.errors import InputError
from inn_studies.ngc_rivals.ranks import filled

if TYPE_CHECKING:
    from inn.compress.topologies import BlockGroup

ROLES = "qkvogud"
TEMPERATURES = (0.03, 0.1, 0.3, 1.0)
"""Of the softmax that shares out sparsity: the best of them on the calibration text is taken."""
MOST = 0.85
"""The largest sparsity of a layer; the paper shows one of 82 %."""
TRIED = 4
"""Rows that a temperature is tried on."""


@dataclass
class Cut(Outcome):
    """What was done to a model of which a part was filled with zeros in place of being cut.

    Attributes:
        zeros: the parameters that are not there: rows and columns of zeros, which change nothing.
    """

    zeros: int = 0


@dataclass
class _Layer:
    """What the text tells of a layer of the dense model.

    Attributes:
        influence: 1 - the mean cosine between what comes in and what goes out.
        attention: `[d, d]`, the moment of what queries, keys and values read.
        pairs: `[groups, head / 2]`, the scores of rotary pairs (`pair_scores`).
        order: `[n]` int64, the MLP's neurons by falling leverage.
        moment: `[n, n]`, of these.
    """

    influence: float
    attention: Tensor
    pairs: Tensor
    order: Tensor
    moment: Tensor


def nystrom(model: nn.Module, rows: Tensor, keep: float, roles: str | None = None) -> Outcome:
    """MLPs cut as MoDeGPT cuts them (its type I; attention left as it is), in place.

    Kept are the neurons of the largest ridge leverage, the same number in every layer, and the down projection is
    fitted anew by Nyström's approximation, which is ridge regression on them; its ridge is the mean of the moment's
    diagonal, as its leverages have it.

    Args:
        model: a decoder of Hugging Face's.
        rows: `[S, T]` int64, the text.
        keep: the share of the parameters of all projections, or of `roles`, met by the MLPs alone.
    """
    blocks = find_blocks(model)
    keep = of_mlps(model, blocks, keep, roles)
    outcome = Outcome()
    stream = Stream(model, rows)
    for group in neuron_groups(model, blocks):
        here, stream.batches = stream.moments(blocks, group[0].layer, stream.batches)
        moment = here[group[0]]
        _cut(model, blocks, group, moment, by_leverage(moment)[: round(keep * len(moment))], outcome)
    return outcome


def of_mlps(model: nn.Module, blocks: Mapping[Block, Projection], keep: float, roles: str | None = None) -> float:
    """The share of MLPs to keep, so that all projections (or those of `roles`) keep the share `keep`."""
    mlps = [block for group in neuron_groups(model, blocks) for block in group]
    named = [block for block in blocks if roles is None or block.role in roles]
    return 1 - (1 - keep) * size(model, blocks, named).projections / size(model, blocks, mlps).projections


@torch.no_grad()
def modegpt(model: nn.Module, rows: Tensor, keep: float, roles: str | None = None) -> Cut:
    """MoDeGPT whole, in place: MLPs by Nyström, queries and keys by CR, values and outputs by SVD.

    Layers lose the shares L (1 - keep) softmax(-s / T) of their parameters, s their block influence, and every part
    of a layer the same share. Queries and keys keep rotary pairs, the same ones in all heads that share a key head
    (`pair_scores`); values and outputs of such heads keep the best common subspace (`value_subspace`). Heads that are
    narrower are filled with zeros, which computes the same, and their parameters are counted as cut (`Cut.zeros`).
    Statistics are the dense model's. The temperature T is the best of `TEMPERATURES` on a part of `rows`. How heads
    that share keys and values are put together is not spelled out here as the paper has it, but follows from what it
    minimises: the sum of the errors of all their products.

    Args:
        model: a decoder like Llama: rotary positions, no biases and no norms inside its attention.
        rows: `[S, T]` int64, the text.
        keep: the share of the parameters of all seven projections.
        roles: None, or all seven; MoDeGPT has no part that takes less than a pair of projections.

    Raises `InputError` for other models and roles.
    """
    if roles is not None and set(roles) != set(ROLES):
        raise InputError(f"MoDeGPT compresses all of {ROLES} together, not {roles}; leave the roles out")
    blocks = find_blocks(model)
    _check(model, blocks)
    layers = _looked_at(model, rows, blocks)
    influence = torch.tensor([layer.influence for layer in layers])
    shares = [sparsities(influence, 1 - keep, temperature) for temperature in TEMPERATURES]
    tried = []
    for share in shares:
        twin = copy.deepcopy(model)
        _apply(twin, find_blocks(twin), layers, share)
        tried.append(score(twin, rows[:TRIED].flatten(), rows.shape[1]).nats)
    return _apply(model, blocks, layers, shares[min(range(len(tried)), key=tried.__getitem__)])


def sparsities(influence: Tensor, mean: float, temperature: float) -> list[float]:
    """The sparsity of every layer: in proportion to softmax(-influence / T), `mean` on average, `MOST` at most.

    >>> [round(s, 2) for s in sparsities(torch.tensor([0.1, 0.1, 9.0]), 0.2, 0.5)]
    [0.3, 0.3, 0.0]
    """
    weights = torch.softmax(-influence.double() / temperature, 0).clamp_min(1e-12)
    return filled(weights.tolist(), mean * len(weights), [MOST] * len(weights))


def pair_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """What every rotary pair of channels adds to the products of queries and keys, `[groups, head / 2]`.

    CR's score of a channel is |C_q^1/2 e_i| |C_k^1/2 e_i|, the root of the product of what queries and keys have there;
    the squares of a pair's two channels and of all heads that share a key head are added up.

    Args:
        queries: `[heads, head]`, mean squares of every channel after rotation.
        keys: `[groups, head]`, the same.
    """
    groups, head = keys.shape
    both = (queries.view(groups, -1, head) * keys[:, None]).sum(1)
    return (both[:, : head // 2] + both[:, head // 2 :]).sqrt()


def value_subspace(value: Tensor, outputs: Tensor, moment: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Values `[k, d]` and outputs `[heads, m, k]` of so small a head that their products come the closest.

    The truncated SVD of C^1/2 W_v^T [W_o,1^T ... W_o,h^T], of heads that share a value head: MoDeGPT's type III, which
    has one head. It is found in the head's own dimensions.

    Args:
        value: `[head, d]`.
        outputs: `[heads, m, head]`, what reads it.
        moment: `[d, d]` of what the values read.
        rank: k.
    """
    value, outputs = value.double(), outputs.double()
    squares, basis = torch.linalg.eigh(value @ moment.double() @ value.T)
    sizes = squares.clamp_min(float(squares[-1].clamp_min(1e-30)) * 1e-12).sqrt()
    into, out = (basis / sizes).T, basis * sizes  # out @ into is the identity
    inner = torch.linalg.eigh(out.T @ (outputs.mT @ outputs).sum(0) @ out)[1].flip(1)[:, :rank]
    return inner.T @ into @ value, outputs @ (out @ inner)


def by_leverage(moment: Tensor) -> Tensor:
    """Neurons by falling ridge leverage, `[n]` int64; the ridge is the mean of the moment's diagonal."""
    ridge = moment.diagonal().mean()
    return torch.linalg.solve(moment + ridge * torch.eye(len(moment)), moment).diagonal().argsort(descending=True)


def _cut(
    model: nn.Module, blocks: Mapping[Block, Projection], group: BlockGroup, moment: Tensor, kept: Tensor, of: Outcome
) -> None:
    """Leave an MLP these neurons, what reads them fitted anew."""
    kept = kept.sort().values
    narrow(model, [blocks[b] for b in group], kept, fitted(weight_of(model, blocks[group[0]]), moment, kept))
    of.neurons.append((group, len(kept)))


def _check(model: nn.Module, blocks: Mapping[Block, Projection]) -> None:
    config: Any = model.config
    roles = {block.role for block in blocks}
    inside = {name.rpartition("self_attn.")[2] for name, _ in model.named_parameters() if "self_attn." in name}
    if roles != set(ROLES) or inside != {f"{role}_proj.weight" for role in "qkvo"} or not hasattr(config, "head_dim"):
        raise InputError(
            f"MoDeGPT is here for decoders like Llama, with projections {ROLES} and nothing else trained in attention; "
            f"{type(model).__name__} is none"
        )


def _looked_at(model: nn.Module, rows: Tensor, blocks: Mapping[Block, Projection]) -> list[_Layer]:
    """What the text tells of every layer."""
    config: Any = model.config
    stream, found = Stream(model, rows), []
    for i, layer in enumerate(stream.layers):
        seen = _Rotated(config.head_dim)
        attention: Any = layer.self_attn
        hooks = [
            attention.register_forward_pre_hook(seen.places, with_kwargs=True),
            attention.q_proj.register_forward_hook(seen.queries),
            attention.k_proj.register_forward_hook(seen.keys),
        ]
        before = stream.batches
        here, stream.batches = stream.moments(blocks, i, before)
        for hook in hooks:
            hook.remove()
        alike = [torch.cosine_similarity(x, y, -1).flatten() for x, y in zip(before, stream.batches)]
        inner = here[Block(i, "d")]
        found.append(
            _Layer(
                1 - float(torch.cat(alike).mean()),
                here[Block(i, "q")],
                pair_scores(seen.squares["q"], seen.squares["k"]),
                by_leverage(inner),
                inner,
            )
        )
    return found


@dataclass
class _Rotated:
    """Squares of queries and keys after rotation, added up by channel as hooks see them."""

    head: int
    at: tuple[Tensor, Tensor] | None = None
    squares: dict[str, Tensor] = field(default_factory=dict)

    def places(self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.at = kwargs["position_embeddings"]

    def queries(self, module: nn.Module, args: Any, out: Tensor) -> None:
        self._add("q", out)

    def keys(self, module: nn.Module, args: Any, out: Tensor) -> None:
        self._add("k", out)

    def _add(self, role: str, out: Tensor) -> None:
        assert self.at is not None
        squares = rotated(out.unflatten(-1, (-1, self.head)), *self.at).double().square().flatten(0, 1).sum(0)
        self.squares[role] = self.squares.get(role, 0) + squares


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads `[B, T, heads, head]` turned by cosines and sines `[B, T, head]`; pairs are half a head apart."""
    first, second = x.chunk(2, -1)
    return x * cos[:, :, None] + torch.cat([-second, first], -1) * sin[:, :, None]


def _apply(
    model: nn.Module, blocks: Mapping[Block, Projection], layers: Sequence[_Layer], shares: Sequence[float]
) -> Cut:
    """Cut every layer by its share, in place."""
    config: Any = model.config
    outcome = Cut()
    head, d = config.head_dim, config.hidden_size
    for group, layer, share in zip(neuron_groups(model, blocks), layers, shares, strict=True):
        q, k, v, o = (weight_of(model, blocks[Block(group[0].layer, role)]) for role in "qkvo")
        pairs, rank = (max(1, round((1 - share) * n)) for n in (head // 2, head))
        _keep_pairs(q, k, layer.pairs.topk(pairs).indices, head)
        _keep_values(v, o, layer.attention, rank, head)
        of_head = (len(q) + len(k)) // head * d  # parameters of queries and keys, and of the others, for one channel
        attention = of_head * (2 * pairs + rank)
        inner = len(layer.order) * len(group) * d
        rest = (1 - share) * (of_head * 2 * head + inner) - attention
        kept = max(1, min(len(layer.order), round(rest / (len(group) * d))))
        _cut(model, blocks, group, layer.moment, layer.order[:kept], outcome)
        outcome.zeros += of_head * 2 * head - attention
    return outcome


def _keep_pairs(q: Tensor, k: Tensor, kept: Tensor, head: int) -> None:
    """Fill all rotary pairs but those `kept`, `[groups, pairs]`, with zeros, in place."""
    groups = len(kept)
    mask = torch.zeros(groups, head, dtype=torch.bool).scatter(1, torch.cat([kept, kept + head // 2], 1), True)
    k.view(groups, head, -1).mul_(mask[..., None])
    q.view(groups, -1, head, q.shape[1]).mul_(mask[:, None, :, None])


def _keep_values(v: Tensor, o: Tensor, moment: Tensor, rank: int, head: int) -> None:
    """Put values and outputs of `rank` channels a head in the place of wider ones, the others zeros, in place."""
    groups = len(v) // head
    values, outputs = v.view(groups, head, -1), o.view(len(o), groups, -1, head)
    for g in range(groups):
        value, output = value_subspace(values[g], outputs[:, g].transpose(0, 1), moment, rank)
        values[g].zero_()[:rank] = value.to(v)
        outputs[:, g] = nn.functional.pad(output.transpose(0, 1), (0, head - rank)).to(o)
