"""Compressing a trained model: a plan, a text, a share of the parameters to keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection, find_blocks, left_out, weight_of
from inn.compress.calibrate import Stream
from inn.compress.heads import head_groups
from inn.compress.inputs import Inputs, Rows, check_rows
from inn.compress.neurons import Kept
from inn.compress.neurons_layers import narrow, neuron_groups
from inn.compress.passes import Passes, StageReport
from inn.compress.plans import SEQUENTIAL, WEIGHTS, CompressionPlan, named_plan
from inn.compress.replace import put_states
from inn.compress.shelf import changing, expect
from inn.compress.states import States
from inn.compress.topologies import WHOLE, Block, BlockGroup, only, parse_topology, roles_of
from inn.nn.modes import learns
from inn.system.errors import InputError, lookup


@dataclass(frozen=True)
class Coverage:
    """What a plan is about to compress, by parameters.

    Attributes:
        covered: of the projections that it names.
        model: of the whole model.
        left: of the matrices in the model's layers that it leaves as they are, by the path of their module.
    """

    covered: int
    model: int
    left: dict[str, int]

    def __str__(self) -> str:
        layers = self.covered + sum(self.left.values())
        of_layers, of_model = f"{self.covered / layers:.0%}", f"{self.covered / self.model:.0%}"
        said = f"the plan covers {of_layers} of the layers' weights, {of_model} of the model"
        if self.left:
            most = [f"{path} {number / layers:.1%}" for path, number in self.left.items()]
            said += f"; left as they are: {', '.join(most[:6])}{f' and {len(most) - 6} more' if len(most) > 6 else ''}"
        return said


@dataclass
class Outcome:
    """What was done to a model.

    Attributes:
        groups: the groups that were compressed, with their ranks.
        neurons: the MLPs that lost neurons, and attention that lost heads, and how many they kept.
        lost: the share of output energy that each block lost on the text.
        dense: blocks that stayed dense weights, because that is worth its parameters or because the gate said so.
        orders: what is most needed of every group first: of neurons or heads their numbers in the dense model, `[n]`
            int64; of states the inputs', `[n, k]`.
        coverage: what was to be compressed, and what was left out.
    """

    groups: list[tuple[BlockGroup, int]] = field(default_factory=list)
    neurons: list[tuple[BlockGroup, int]] = field(default_factory=list)
    lost: dict[Block, float] = field(default_factory=dict)
    dense: list[Block] = field(default_factory=list)
    orders: dict[BlockGroup, Tensor] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=lambda: Coverage(0, 0, {}))

    @property
    def blocks(self) -> list[Block]:
        """All that the plan named, whatever became of them."""
        return sorted([*(block for group, _ in (*self.groups, *self.neurons) for block in group), *self.dense])


@learns
@torch.no_grad()
def compress(
    model: nn.Module,
    rows: Rows,
    plan: CompressionPlan | str = "auto",
    keep: float = 0.8,
    *,
    roles: str | Iterable[str] | None = None,
    orders: Mapping[BlockGroup, Tensor] | None = None,
    report: StageReport = lambda what, done, of: None,
) -> Outcome:
    """Put neuronal states in the place of a model's projections, in place.

    Args:
        model: a decoder or an encoder of Hugging Face's, dense.
        rows: `[S, T]` int64: the text it is calibrated on, in rows; or a model's inputs by their names, such as
            `{"pixel_values": images}`.
        plan: a `CompressionPlan`, or the name of one.
        keep: the share of the parameters of the projections that the plan names, in (0, 1].
        roles: compress only these projections.
        orders: of neurons, heads and input states those that are kept are the first of these, as `Outcome.orders` has
            them, where they are known; the others are found, and are in `Outcome.orders` then. None: those of states
            are not kept there, which take as much room as they do in the model.
        report: called with what is being done, how much of it is done, and how much there is.

    Raises `InputError` for a share out of range, projections that the model lacks, a text that makes activations that
    are not finite, symbols that the model lacks, and a model that is compressed, quantised or has adapters.
    """
    inputs = Inputs.of(rows)
    with compressing(model):
        return _compress(model, inputs, _planned(model, inputs, plan, keep, roles), keep, orders, report)


@contextmanager
def compressing(model: nn.Module) -> Iterator[None]:
    """A model meanwhile does what it does when it is used; whoever saves it afterwards writes what it has become."""
    modes = {name: module.training for name, module in model.named_modules()}  # by name: what is replaced is let go of
    model.eval()  # no dropout
    try:
        yield
        if hasattr(model, "save_pretrained"):
            import inn.compress.folder

            inn.compress.folder.mark(model)
    finally:
        for name, module in model.named_modules():
            module.training = modes.get(name, modes[""])


@torch.no_grad()
def coverage(
    model: nn.Module,
    rows: Rows,
    plan: CompressionPlan | str = "auto",
    keep: float = 0.8,
    roles: str | Iterable[str] | None = None,
) -> Coverage:
    """What `compress` would take with the same arguments, and what it would leave out; the model stays as it is.

    Raises `InputError` as `compress` does for its arguments.
    """
    return _planned(model, Inputs.of(rows), plan, keep, roles).coverage


@dataclass(frozen=True)
class _Planned:
    """What is to be done to a model: MLPs and attention to `cut`, of so many units, and groups; None: searched for."""

    plan: CompressionPlan
    blocks: dict[Block, Projection]
    order: dict[Block, int]
    cut: dict[BlockGroup, int]
    groups: list[BlockGroup] | None
    coverage: Coverage


def _planned(
    model: nn.Module, rows: Inputs, plan: CompressionPlan | str, keep: float, roles: str | Iterable[str] | None
) -> _Planned:
    how = named_plan(plan) if isinstance(plan, str) else plan
    if not 0 < keep <= 1:
        raise InputError(f"keep must be above 0 and at most 1, not {keep}; 0.8 keeps four fifths of the parameters")
    lookup("weighing", how.weigh, dict.fromkeys(WEIGHTS))
    lookup("sequence", how.sequential, dict.fromkeys(SEQUENTIAL))
    blocks = find_blocks(model)
    known = sorted({block.role for block in blocks})
    wanted = known if roles is None else roles_of(roles)
    for role in wanted:
        lookup("projection", role, dict.fromkeys(known))
    order = Stream(model, rows[:1]).order(blocks)
    there = [block for block in order if block.role in wanted]  # what is never called as a layer is taken by name only
    named = {block: blocks[block] for block in there}
    cut: dict[BlockGroup, int] = {}
    if how.neurons:
        cut |= {group: weight_of(model, blocks[group[0]]).shape[1] for group in neuron_groups(model, named)}
    if how.heads:
        cut |= head_groups(model, named, rows)
    whole = {block for group in cut for block in group}
    there = [block for block in there if block not in whole]
    groups: list[BlockGroup] | None = None
    if how.topology == "none":
        groups = []
    elif how.topology != "search":
        groups = only(parse_topology(how.topology, there if how.topology in WHOLE else blocks), wanted)
        groups = [left for group in groups if (left := tuple(block for block in group if block not in whole))]
    mine = [*whole, *(there if groups is None else (block for group in groups for block in group))]
    if not mine and how.topology == "none":
        raise InputError(
            f"of {type(model).__name__} no MLP is compressed whose neurons can be cut: projections u (g) and d, with "
            f"nothing trained between them{' (nor attention whose heads can be: q, k, v and o)' if how.heads else ''}; "
            f"the projections are {', '.join(wanted)}; use another plan, or more roles"
        )
    if not mine:
        raise InputError(
            f"topology '{how.topology}' names none of the projections to compress, which are {', '.join(wanted)}"
        )
    taken = {block: blocks[block] for block in mine}
    covered = sum(weight_of(model, p).numel() for p in taken.values())
    left = left_out(model, taken.values())
    return _Planned(how, taken, order, cut, groups, Coverage(covered, sum(p.numel() for p in model.parameters()), left))


def _compress(
    model: nn.Module,
    rows: Inputs,
    planned: _Planned,
    keep: float,
    orders: Mapping[BlockGroup, Tensor] | None,
    report: StageReport,
) -> Outcome:
    how, blocks, groups = planned.plan, planned.blocks, planned.groups
    check_rows(model, rows)
    passes = Passes(model, rows, how, blocks, planned.order, report, planned.cut, orders)
    outcome = Outcome(coverage=planned.coverage)
    if groups is None:
        taken = {block for group in planned.cut for block in group}
        groups = passes.search([block for block in blocks if block not in taken], keep)
    groups = [*planned.cut, *groups]
    ranks = passes.ranks(groups, keep)
    if how.gate is not None:
        groups, ranks, outcome.dense = passes.gated(groups, ranks, how.gate)
    expect(model, (block.layer for group in groups for block in group))
    for group, states, shares in passes.walk(groups, ranks):
        with changing(model, (block.layer for block in group)):
            if isinstance(states, States):
                outcome.groups.append((group, states.rank))
                outcome.lost.update(zip(group, shares, strict=True))
                put_states(model, [blocks[b] for b in group], states)
            elif isinstance(states, Kept):
                outcome.neurons.append((group, len(states.neurons)))
                outcome.lost.update(zip(group, shares, strict=True))
                narrow(model, [blocks[b] for b in group], states.neurons, states.weight, planned.cut[group])
            else:
                outcome.dense += group
                for block, weight in zip(group, states):  # of an MLP that keeps its neurons, what reads them
                    weight_of(model, blocks[block]).copy_(weight)
    outcome.orders |= passes.orders
    return outcome
