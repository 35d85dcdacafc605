"""Compressing a trained model: a plan, a text, a share of the parameters to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from inn.compress.allocate import spread
from inn.compress.blocks import Projection, find_blocks, put_group, weight_of
from inn.compress.calibrate import Moments, Stream, importances, weight_importances
from inn.compress.plan import ROLES, TOPOLOGIES, Block, Group, only, plan
from inn.compress.search import Priced, merged, price, price_at
from inn.compress.states import States, energies, factorise, lost, per_rank, rank_for, refit
from inn.errors import InputError, lookup

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Plan:
    """How a model is compressed; every published method of this family is one.

    Attributes:
        topology: which blocks share input states: see `inn.compress.plan.plan`; `search` looks for the best.
        weigh: what an error is measured by: `none` the weights themselves (plain SVD); `activations` inputs by their
            mean size (ASVD); `gradients` inputs by their weights' mean squared gradient (FWSVD); `moments` what the
            outputs lose on the text (SVD-LLM and all that follow); `fisher` the same with every output by how much the
            loss minds an error there.
        refit: whether every block's own states are fitted anew beside the shared ones.
        allocate: `even` keeps the same share everywhere; `energy` the directions that carry the most, wherever they
            are.
        sequential: whether a layer is calibrated on what the compressed layers before it make of the text.
        gate: a block that loses more than this many times the mean share of output energy stays dense (the NGC authors'
            code has 1.5); None replaces all.
    """

    topology: str = "search"
    weigh: str = "fisher"
    refit: bool = True
    allocate: str = "energy"
    sequential: bool = True
    gate: float | None = None


WEIGHTS = ("none", "activations", "gradients", "moments", "fisher")
PLANS = {
    "auto": Plan(),
    "svd": Plan("svd-llm", "none", False, "even", False),
    "fwsvd": Plan("svd-llm", "gradients", False, "even", False),
    "asvd": Plan("svd-llm", "activations", False, "even", False),
    "svd-llm": Plan("svd-llm", "moments", False, "even", False),
    "basis-sharing": Plan("basis-sharing", "moments", False, "even", False),
    "in-layer": Plan("in-layer", "moments", False, "even", False),
}
"""Plans that have a name; the published ones as published. Any topology is one too."""


@dataclass
class Outcome:
    """What was done to a model.

    Attributes:
        groups: the groups that were compressed, with their ranks.
        lost: the share of output energy that each block lost on the text.
        dense: blocks that the gate left as they were.
    """

    groups: list[tuple[Group, int]] = field(default_factory=list)
    lost: dict[Block, float] = field(default_factory=dict)
    dense: list[Block] = field(default_factory=list)


def named_plan(name: str) -> Plan:
    """A plan by its name or its topology.

    >>> named_plan("svd-llm").weigh, named_plan("qk-v").topology
    ('moments', 'qk-v')
    """
    if name in PLANS:
        return PLANS[name]
    if name in TOPOLOGIES or set(name) <= {*ROLES, "-", "|"} or "{" in name:
        return Plan(name)
    return lookup("plan", name, PLANS)


@torch.no_grad()
def compress(
    model: nn.Module,
    rows: Tensor,
    plan_: Plan | str = "auto",
    keep: float = 0.8,
    *,
    roles: Iterable[str] | None = None,
    report: Report = lambda what, done, of: None,
) -> Outcome:
    """Put neuronal states in the place of a model's projections, in place.

    Args:
        model: a decoder of Hugging Face's, dense.
        rows: `[S, T]` int64: the text it is calibrated on, in rows.
        plan_: a `Plan`, or the name of one.
        keep: the share of the parameters of the projections that the plan names, in (0, 1].
        roles: compress only these projections.
        report: see `Report`.

    Raises `InputError` for a share out of range, projections that the model lacks, a text that makes activations that
    are not finite, and a model that is compressed already.
    """
    how = named_plan(plan_) if isinstance(plan_, str) else plan_
    if not 0 < keep <= 1:
        raise InputError(f"keep must be above 0 and at most 1, not {keep}; 0.8 keeps four fifths of the parameters")
    lookup("weighing", how.weigh, dict.fromkeys(WEIGHTS))
    blocks = find_blocks(model)
    known = sorted({block.role for block in blocks})
    wanted = known if roles is None else list(roles)
    for role in wanted:
        lookup("projection", role, dict.fromkeys(known))
    search = how.topology == "search"
    groups = [] if search else only(plan(how.topology, blocks), wanted)
    mine = {block for block in blocks if block.role in wanted} if search else {b for group in groups for b in group}
    if not mine:
        raise InputError(
            f"topology '{how.topology}' names none of the projections to compress, which are {', '.join(wanted)}"
        )
    work = _Work(model, rows, how, {block: blocks[block] for block in mine}, report)
    if search:
        groups = work.search(work.called, keep)
    ranks = work.ranks(groups, keep)
    outcome = Outcome()
    if how.gate is not None:
        groups, ranks, outcome.dense = work.gated(groups, ranks, how.gate)
    for group, rank, states, shares in work.walk(groups, ranks):
        outcome.groups.append((group, rank))
        outcome.lost.update(zip(group, shares, strict=True))
        _replace(model, blocks, group, states)
    return outcome


class _Work:
    """A compression under way: what errors are measured by, and passes over the layers."""

    def __init__(self, model: nn.Module, rows: Tensor, how: Plan, blocks: Mapping[Block, Projection], report: Report):
        self.model, self.rows, self.how, self.blocks, self.report = model, rows, how, blocks, report
        self.minded: dict[Block, Tensor] = {}
        if how.weigh in ("fisher", "gradients"):
            found = importances if how.weigh == "fisher" else weight_importances
            self.minded = found(model, rows, blocks, lambda done, of: report("gradients", done, of))

    @property
    def called(self) -> list[Block]:
        """The blocks that the model calls as layers."""
        stream = Stream(self.model, self.rows[:1])
        found: list[Block] = []
        for layer in range(len(stream.layers)):
            moments, stream.batches = stream.moments(self.blocks, layer, stream.batches)
            found += moments
        return found

    def ranks(self, groups: Sequence[Group], keep: float) -> list[int]:
        """The rank of every group."""
        shapes = [self.shapes(group) for group in groups]
        if self.how.allocate == "even":
            return [rank_for(keep, shape) for shape in shapes]
        return spread(self.spectra(groups), shapes, keep)

    def spectra(self, groups: Sequence[Group]) -> list[Tensor]:
        """The energies of every group."""
        found = {i: energies(w, c) for i, _, w, c in self.sections(groups, "energies", replace=False)}
        return [found[i] for i in range(len(groups))]

    def search(self, blocks: Iterable[Block], keep: float) -> list[Group]:
        """The groups that lose least at the budget, as a greedy search finds them.

        Merged are blocks of a layer that read the same, and groups of the same projections in adjacent layers, while
        that lowers energy lost + price x parameters; the price is the one at which every block on its own, at its best
        rank, would meet the budget.
        """
        alone: list[Group] = [(block,) for block in sorted(blocks)]
        shapes = [self.shapes(group) for group in alone]
        budget = keep * sum(m * n for shape in shapes for m, n in shape)
        per = price_at(self.spectra(alone), [per_rank(shape) for shape in shapes], budget)

        found: list[Group] = []
        stream, known = Stream(self.model, self.rows), Moments()
        for layer in range(len(stream.layers)):
            here, stream.batches = stream.moments(self.blocks, layer, stream.batches)
            known = {block: c for block, c in known.items() if block.layer == layer - 1} | here

            def cost(group: Group, known: Moments = known) -> Priced:
                return price(*self.weighed(group, known), per)

            def same_input(a: Group, b: Group, known: Moments = known) -> bool:
                return known[a[0]] is known[b[0]]

            mine = merged([g for g in alone if g[0].layer == layer], cost, same_input)
            before = [g for g in found if {b.layer for b in g} == {layer - 1}]
            found = [g for g in found if g not in before] + merged([*before, *mine], cost, _in_step)
            self.report("search", layer + 1, len(stream.layers))
        return sorted(found)

    def gated(
        self, groups: Sequence[Group], ranks: Sequence[int], gate: float
    ) -> tuple[list[Group], list[int], list[Block]]:
        """The groups without the blocks that would lose too much, and these."""
        shares: dict[Block, float] = {}
        for i, group, weights, moments in self.sections(groups, "errors", replace=False):
            shares.update(zip(group, self.losses(weights, moments, ranks[i]), strict=True))
        limit = gate * sum(shares.values()) / len(shares)
        dense = [block for block, share in shares.items() if share >= limit]
        kept = [tuple(block for block in group if block not in dense) for group in groups]
        both = [(group, rank) for group, rank in zip(kept, ranks) if group]
        return [group for group, _ in both], [rank for _, rank in both], dense

    def losses(self, weights: Sequence[Tensor], moments: Sequence[Tensor], rank: int) -> list[float]:
        """The shares of output energy that a group's blocks lose at a rank."""
        return lost(self._states(weights, moments, rank), weights, moments)

    def walk(self, groups: Sequence[Group], ranks: Sequence[int]) -> Iterator[tuple[Group, int, States, list[float]]]:
        """Factorise every group: yields it with its rank, states and the shares of output energy lost."""
        for i, group, weights, moments in self.sections(groups, "states", replace=self.how.sequential):
            states = self._states(weights, moments, min(ranks[i], len(weights[0].T), sum(map(len, weights))))
            shares = lost(states, weights, moments)
            outputs = tuple(q / self._minds(b)[:, None] for q, b in zip(states.outputs, group))
            yield group, states.rank, States(states.inputs, outputs, states.energies), shares

    def shapes(self, group: Group) -> list[tuple[int, int]]:
        """(outputs, inputs) of a group's blocks."""
        return [(len(w), w.shape[1]) for w in (weight_of(self.model, self.blocks[b]) for b in group)]

    def sections(
        self, groups: Sequence[Group], what: str, *, replace: bool
    ) -> Iterator[tuple[int, Group, list[Tensor], list[Tensor]]]:
        """Every group as soon as the moments of its blocks are known: its number, itself, weights and moments.

        Layers that a group ties together are one section: its moments are all taken before any of it is replaced, and
        then its layers are run again as they have become, if those after them are to see that.
        """
        stream = Stream(self.model, self.rows)
        for section in _tied(groups, len(stream.layers)):
            mine = [(i, g) for i, g in enumerate(groups) if g[0].layer in section]
            wanted = {block for _, group in mine for block in group}
            before, batches, known = stream.batches, stream.batches, {}
            for layer in section:
                found, batches = stream.moments(self.blocks, layer, batches)
                known |= {block: c for block, c in found.items() if block in wanted}
                self.report(what, layer + 1, len(stream.layers))
            for i, group in mine:
                yield i, group, *self.weighed(group, known)
            if replace:
                batches = before
                for layer in section:
                    batches = stream.run(layer, batches)
            stream.batches = batches

    def weighed(self, group: Group, known: Moments) -> tuple[list[Tensor], list[Tensor]]:
        """A group's weights and moments as the plan weighs errors."""
        for block in group:
            if block not in known:
                raise InputError(
                    f"'{self.blocks[block].path}' is never called as a layer by this model, which computes with its "
                    f"weight by hand; leave '{block.role}' out of the topology"
                )
        weights = [weight_of(self.model, self.blocks[b]).detach().double() for b in group]
        moments = [known[b] for b in group]
        if self.how.weigh == "none":
            moments = [torch.eye(len(c), dtype=c.dtype, device=c.device) for c in moments]
        elif self.how.weigh == "activations":
            moments = [torch.diag(c.diagonal().sqrt() + 1e-6) for c in moments]
        elif self.how.weigh == "gradients":
            moments = [torch.diag(self.minded[b]) for b in group]
        return [w * self._minds(b)[:, None] for w, b in zip(weights, group)], moments

    def _states(self, weights: Sequence[Tensor], moments: Sequence[Tensor], rank: int) -> States:
        states = factorise(weights, moments, rank)
        return refit(states, weights, moments) if self.how.refit and len(weights) > 1 else states

    def _minds(self, block: Block) -> Tensor:
        """What the outputs of a block are multiplied by before errors are counted."""
        if self.how.weigh != "fisher":
            return torch.ones(1, dtype=torch.float64)
        found = self.minded[block]
        return (found + 1e-3 * found.mean()).clamp(min=1e-30).sqrt()  # an output that never mattered may still


def _in_step(a: Group, b: Group) -> bool:
    """Whether two groups are the same projections of different layers."""
    return {x.layer for x in a}.isdisjoint(x.layer for x in b) and [x.role for x in a] == [x.role for x in b]


def _tied(groups: Sequence[Group], layers: int) -> list[range]:
    """The layers in sections that no group reaches across."""
    ends: dict[int, int] = {}
    for group in groups:
        first = group[0].layer
        ends[first] = max(ends.get(first, first), *(block.layer for block in group))
    sections, start = [], 0
    while start < layers:
        end = start
        at = start
        while at <= end:
            end = max(end, ends.get(at, at))
            at += 1
        sections.append(range(start, end + 1))
        start = end + 1
    return sections


def _replace(model: nn.Module, blocks: Mapping[Block, Projection], group: Group, states: States) -> None:
    """Put a group's states in the model."""
    layers = put_group(model, [blocks[b] for b in group], states.rank)
    layers[0].reads.weight.copy_(states.inputs.T)
    for layer, outputs in zip(layers, states.outputs, strict=True):
        layer.write.weight.copy_(outputs)
