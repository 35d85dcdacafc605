"""Passes over a model's layers: what a text tells of groups, which groups and ranks follow, and their states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor, nn

from inn.compress.allocate import price_at, spread
from inn.compress.blocks import Projection, weight_of
from inn.compress.calibrate import Moments, Stream, importances, weight_importances
from inn.compress.following import Following, Read, stages
from inn.compress.inputs import Inputs
from inn.compress.neurons import Kept, fitted, members, ranking
from inn.compress.plans import CompressionPlan
from inn.compress.search import merged, price
from inn.compress.shelf import hold
from inn.compress.states import (
    States,
    dense_size,
    energies,
    energy,
    factorise,
    fitted_to,
    lost,
    rank_for,
    refit,
    shapes_of,
)
from inn.compress.topologies import Block, BlockGroup
from inn.system.errors import InputError

StageReport = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

ENOUGH = 4
"""Symbols for every input of the widest block: so much of the text decides which blocks share, and what rank they get.

The states themselves are found on all of it, and so is which neurons can be told by others: a map of n numbers fitted
to 4 n symbols would learn the text.
"""
GRADED = 2**14
"""Symbols whose gradients are taken: means of squares are known well enough by then."""

TRUSTED = 0.5
"""How far a weight goes to what is best for it on the text: all the way it learns the text itself, and does worse on
others of the same kind (stories260K, all at 60 %: perplexity 14.6 without, 10.8 half way, 11.6 all the way).
"""


@dataclass(frozen=True)
class Weighed:
    """A group's weights `[m, n]` and moments `[n, n]`, in units in which all errors count alike.

    `scales` are what the weights' outputs were multiplied by for that.
    """

    weights: list[Tensor]
    moments: list[Tensor]
    scales: list[Tensor]


class Passes:
    """A compression under way: what errors are measured by, and passes over the layers.

    `order` says when each block reads, within its layer (`Stream.order`); of the groups in `cut` the first block reads
    units that are to become fewer, so many as there stands, and the others write them; `orders` as for `compress`.
    """

    def __init__(
        self,
        model: nn.Module,
        rows: Inputs,
        plan: CompressionPlan,
        blocks: Mapping[Block, Projection],
        order: Mapping[Block, int],
        report: StageReport,
        cut: Mapping[BlockGroup, int] = MappingProxyType({}),
        orders: Mapping[BlockGroup, Tensor] | None = None,
    ):
        self.model, self.rows, self.plan, self.blocks, self.report = model, rows, plan, blocks, report
        self.order, self.cut = order, cut
        self.orders, self.nested = dict(orders or {}), orders is not None
        self.minded: dict[Block, Tensor] = {}
        if plan.weigh in ("fisher", "gradients"):
            found = importances if plan.weigh == "fisher" else weight_importances
            self.minded = found(model, self._part(GRADED), blocks, lambda done, of: report("gradients", done, of))
        self.known: dict[BlockGroup, Tensor] = {}
        self._tell: Callable[[Block, Tensor], None] | None = None
        """Who wants to know what a group alone in its stage becomes."""

    @cached_property
    def few(self) -> Inputs:
        """What decides on groups and ranks: all rows where neurons are told by others, else `ENOUGH` symbols."""
        if self.cut:
            return self.rows
        return self._part(ENOUGH * max(weight_of(self.model, p).shape[1] for p in self.blocks.values()))

    def _part(self, symbols: int) -> Inputs:
        """As many rows as have so many symbols, from all over the text."""
        rows = min(len(self.rows), -(-symbols // max(1, self.rows.shape[-1])))
        return self.rows[torch.linspace(0, len(self.rows) - 1, rows).round().long()]

    def ranks(self, groups: Sequence[BlockGroup], keep: float) -> list[int | None]:
        """The rank of every group; None leaves it dense."""
        shapes = [self.shapes(group) for group in groups]
        cut = {i for i, group in enumerate(groups) if group in self.cut}
        if self.plan.allocate == "even":
            most = [self.cut.get(group) for group in groups]
            even = [rank_for(keep, s) if units is None else round(keep * units) for units, s in zip(most, shapes)]
            return [None if rank == units else max(1, rank) for rank, units in zip(even, most)]
        return spread(self.spectra(groups), shapes, keep, units=cut)

    def spectra(self, groups: Sequence[BlockGroup]) -> list[Tensor]:
        """The energies of every group, on a part of the text; known are those that the search has looked at."""
        new = [group for group in groups if group not in self.known]
        for i, found in self.sections(new, "energies", self.few):
            if new[i] in self.cut:
                best = ranking(found.weights[0], found.moments[0], units=self.cut[new[i]])
                self.orders[new[i]], self.known[new[i]] = best.order, best.energies
            else:
                self.known[new[i]] = energies(found.weights, found.moments)
        return [self.known[group] for group in groups]

    def search(self, blocks: Iterable[Block], keep: float) -> list[BlockGroup]:
        """The groups that lose least at the budget, as a greedy search finds them.

        Merged are blocks of a layer that read the same, and groups of the same projections in adjacent layers, while
        that lowers energy lost + price x parameters; the price is the one at which every block on its own, at its best
        rank or dense, would meet the budget.
        """
        alone: list[BlockGroup] = [(block,) for block in sorted(blocks)]
        shapes = [self.shapes(group) for group in alone]
        budget = keep * sum(map(dense_size, shapes))
        per = price_at(self.spectra(alone), shapes, budget)

        found: list[BlockGroup] = []
        costs: dict[BlockGroup, float] = {}
        stream, known = Stream(self.model, self.few), Moments()
        for layer in range(len(stream.layers)):
            here, stream.batches = stream.moments(self.blocks, layer, stream.batches)
            known = {block: c for block, c in known.items() if block.layer == layer - 1} | here

            def cost(group: BlockGroup, known: Moments = known) -> float:
                if group not in costs:
                    one = self.weighed(group, known)
                    priced = price(one.weights, one.moments, per, self.known.get(group))
                    self.known[group], costs[group] = priced.energies, priced.cost
                return costs[group]

            def same_input(a: BlockGroup, b: BlockGroup, known: Moments = known) -> bool:
                return known[a[0]] is known[b[0]]

            mine = merged([g for g in alone if g[0].layer == layer], cost, same_input)
            before = [g for g in found if {b.layer for b in g} == {layer - 1}]
            found = [g for g in found if g not in before] + merged([*before, *mine], cost, _in_step)
            self.report("search", layer + 1, len(stream.layers))
        return sorted(found)

    def gated(
        self, groups: Sequence[BlockGroup], ranks: Sequence[int | None], gate: float
    ) -> tuple[list[BlockGroup], list[int | None], list[Block]]:
        """The groups without the blocks that would lose too much, and these."""
        shares: dict[Block, float] = {}
        for i, found in self.sections(groups, "errors"):
            if (rank := ranks[i]) is not None and groups[i] not in self.cut:
                states = self._states(found, rank)
                shares.update(zip(groups[i], lost(states, found.weights, found.moments), strict=True))
        limit = gate * sum(shares.values()) / max(1, len(shares))
        dense = [block for block, share in shares.items() if share >= limit]
        kept = [tuple(block for block in group if block not in dense) for group in groups]
        both = [(group, rank) for group, rank in zip(kept, ranks) if group]
        return [group for group, _ in both], [rank for _, rank in both], dense

    def walk(
        self, groups: Sequence[BlockGroup], ranks: Sequence[int | None]
    ) -> Iterator[tuple[BlockGroup, States | Kept | list[Tensor], list[float]]]:
        """What becomes of every group: states or neurons that are kept, and the shares of output energy lost.

        Where it stays dense, its weights.
        """
        found = self.sections(groups, "states") if self.plan.sequential == "no" else self.following(groups)
        for i, one in found:
            group, rank, shares = groups[i], ranks[i], list[float]()
            made: States | Kept | list[Tensor]
            if rank is None:
                made = [w / scale for w, scale in zip(one.weights, one.scales)]
            elif group in self.cut:
                made, shares = self._kept(group, one, rank)
            else:
                states = self._states_of(group, one, min(rank, len(one.weights[0].T), sum(map(len, one.weights))))
                shares = lost(states, one.weights, one.moments)
                outputs = tuple(q / scale for q, scale in zip(states.outputs, one.scales))
                made = States(states.inputs, outputs, states.energies)
            if self._tell is not None and (group in self.cut or len(group) == 1):
                self._tell(group[0], self._whole(group, made))
            yield group, made, shares

    def shapes(self, group: BlockGroup) -> list[tuple[int, int]]:
        """(outputs, inputs) of a group's blocks."""
        return shapes_of(weight_of(self.model, self.blocks[b]) for b in group)

    def sections(
        self, groups: Sequence[BlockGroup], what: str, rows: Inputs | None = None
    ) -> Iterator[tuple[int, Weighed]]:
        """Every group, by its number, as soon as the moments of its blocks in the dense model are known.

        Args:
            groups: the groups.
            what: what it is for, to report.
            rows: of the text; all when None.
        """
        if not groups:
            return
        stream, known = Stream(self.model, self.rows if rows is None else rows), Moments()
        ends = [max(block.layer for block in group) for group in groups]
        for layer in range(len(stream.layers)):
            found, stream.batches = stream.moments(self.blocks, layer, stream.batches)
            known |= found
            for i, end in enumerate(ends):
                if end == layer:
                    yield i, self.weighed(groups[i], known)
            open_ = {b for i, group in enumerate(groups) if ends[i] > layer for b in group}
            known = {block: c for block, c in known.items() if block in open_}
            self.report(what, layer + 1, len(stream.layers))

    def following(self, groups: Sequence[BlockGroup]) -> Iterator[tuple[int, Weighed]]:
        """Every group, by its number, as what is before it has become; whoever is handed one replaces it."""
        follow = Following(self.model, self.rows, self.blocks)
        for layer, numbers in stages(self.order, groups):
            follow.advance(layer)
            reads = follow.read(block for i in numbers for block in groups[i])
            moments = {block: read.moment for block, read in reads.items()}
            self._tell = follow.becomes if len(numbers) == 1 else None
            for i in numbers:
                yield i, self.weighed(groups[i], moments, reads if self.plan.sequential == "outputs" else {})
            self.report("states", layer + 1, len(follow.stream.layers))

    def weighed(self, group: BlockGroup, known: Moments, reads: Mapping[Block, Read] = MappingProxyType({})) -> Weighed:
        """A group's weights and moments as the plan weighs errors, weights corrected where `reads` says for what."""
        for block in group:
            if block not in known:
                raise InputError(
                    f"'{self.blocks[block].path}' is never called as a layer by this model, which computes with its "
                    f"weight by hand; leave '{block.role}' out of the topology"
                )
        group = group[:1] if group in self.cut else group  # what writes neurons stays as it is
        hold(self.model, (block.layer for block in group))
        weights = [weight_of(self.model, self.blocks[b]).detach().double() for b in group]
        weights = [torch.lerp(w, reads[b].corrected(w), TRUSTED) if b in reads else w for w, b in zip(weights, group)]
        moments = [known[b] for b in group]
        if self.plan.weigh == "none":
            moments = [torch.eye(len(c), dtype=c.dtype, device=c.device) for c in moments]
        elif self.plan.weigh == "activations":
            moments = [torch.diag(c.diagonal().sqrt() + 1e-6) for c in moments]
        elif self.plan.weigh == "gradients":
            moments = [torch.diag(self.minded[b]) for b in group]
        scales = [self._scale(b, w, c) for b, w, c in zip(group, weights, moments)]
        return Weighed([w * scale for w, scale in zip(weights, scales)], moments, scales)

    def _whole(self, group: BlockGroup, made: States | Kept | list[Tensor]) -> Tensor:
        """What the weight of a group's first block becomes, `[m, n]`, zeros where units are gone."""
        if isinstance(made, list):
            return made[0]
        shape = weight_of(self.model, self.blocks[group[0]]).shape
        if isinstance(made, States):
            return made.weight(0, shape[1])
        columns = members(made.neurons, shape[1] // self.cut[group])
        return made.weight.new_zeros(shape).index_copy(1, columns, made.weight)

    def _states_of(self, group: BlockGroup, found: Weighed, rank: int) -> States:
        """The states of a group, its input states the first of those that are known where they are."""
        if group not in self.orders:
            states = self._states(found, rank)
            if self.nested:
                self.orders[group] = states.inputs
            return states
        inputs = self.orders[group][:, :rank]
        return States(inputs, fitted_to(inputs, found.weights, found.moments), inputs.new_zeros(inputs.shape[1]))

    def _states(self, found: Weighed, rank: int) -> States:
        states = factorise(found.weights, found.moments, rank)
        again = self.plan.refit and len(found.weights) > 1
        return refit(states, found.weights, found.moments) if again else states

    def _kept(self, group: BlockGroup, found: Weighed, number: int) -> tuple[Kept, list[float]]:
        """The units that an MLP or attention keeps, what reads them, and the share of its output energy lost."""
        (weight,), (moment,), (scale,) = found.weights, found.moments, found.scales
        if group not in self.orders:
            self.orders[group] = ranking(weight, moment, units=self.cut[group]).order
        kept = self.orders[group][:number]
        columns = members(kept, weight.shape[1] // self.cut[group])
        fit = fitted(weight, moment, columns)
        gap = weight.index_add(1, columns, fit, alpha=-1)
        whole = energy(weight, moment)
        return Kept(kept, fit / scale), [energy(gap, moment) / whole if whole > 0 else 0.0] * len(group)

    def _scale(self, block: Block, weight: Tensor, moment: Tensor) -> Tensor:
        """What the outputs of a block are multiplied by before errors are counted, `[m, 1]` or `[1, 1]`."""
        scale = torch.ones(1, 1, dtype=torch.float64, device=weight.device)
        if self.plan.weigh == "fisher":
            found = self.minded[block][:, None]  # an output that never mattered may still
            scale = (found + 1e-3 * found.mean()).clamp(min=1e-30).sqrt()
        if self.plan.balance:
            size = energy(weight * scale, moment)
            scale = scale * (weight.numel() / size) ** 0.5 if size > 0 else scale
        return scale


def _in_step(a: BlockGroup, b: BlockGroup) -> bool:
    """Whether two groups are the same projections of different layers."""
    return {x.layer for x in a}.isdisjoint(x.layer for x in b) and [x.role for x in a] == [x.role for x in b]
