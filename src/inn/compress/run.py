"""Compressing a trained model: a plan, a text, a share of the parameters to keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection, find_blocks, put_group, weight_of
from inn.compress.passes import Passes, StageReport
from inn.compress.plans import SEQUENTIAL, WEIGHTS, CompressionPlan, named_plan
from inn.compress.states import States
from inn.compress.topologies import Block, BlockGroup, only, parse_topology
from inn.system.errors import InputError, lookup


@dataclass
class Outcome:
    """What was done to a model.

    Attributes:
        groups: the groups that were compressed, with their ranks.
        lost: the share of output energy that each block lost on the text.
        dense: blocks that stayed dense weights, because that is worth its parameters or because the gate said so.
    """

    groups: list[tuple[BlockGroup, int]] = field(default_factory=list)
    lost: dict[Block, float] = field(default_factory=dict)
    dense: list[Block] = field(default_factory=list)

    @property
    def blocks(self) -> list[Block]:
        """All that the plan named, whatever became of them."""
        return sorted([*(block for group, _ in self.groups for block in group), *self.dense])


@torch.no_grad()
def compress(
    model: nn.Module,
    rows: Tensor,
    plan: CompressionPlan | str = "auto",
    keep: float = 0.8,
    *,
    roles: Iterable[str] | None = None,
    report: StageReport = lambda what, done, of: None,
) -> Outcome:
    """Put neuronal states in the place of a model's projections, in place.

    Args:
        model: a decoder of Hugging Face's, dense.
        rows: `[S, T]` int64: the text it is calibrated on, in rows.
        plan: a `CompressionPlan`, or the name of one.
        keep: the share of the parameters of the projections that the plan names, in (0, 1].
        roles: compress only these projections.
        report: called with what is being done, how much of it is done, and how much there is.

    Raises `InputError` for a share out of range, projections that the model lacks, a text that makes activations that
    are not finite, and a model that is compressed already.
    """
    how = named_plan(plan) if isinstance(plan, str) else plan
    if not 0 < keep <= 1:
        raise InputError(f"keep must be above 0 and at most 1, not {keep}; 0.8 keeps four fifths of the parameters")
    lookup("weighing", how.weigh, dict.fromkeys(WEIGHTS))
    lookup("sequence", how.sequential, dict.fromkeys(SEQUENTIAL))
    blocks = find_blocks(model)
    known = sorted({block.role for block in blocks})
    wanted = known if roles is None else list(roles)
    for role in wanted:
        lookup("projection", role, dict.fromkeys(known))
    search = how.topology == "search"
    groups = [] if search else only(parse_topology(how.topology, blocks), wanted)
    mine = {block for block in blocks if block.role in wanted} if search else {b for group in groups for b in group}
    if not mine:
        raise InputError(
            f"topology '{how.topology}' names none of the projections to compress, which are {', '.join(wanted)}"
        )
    passes = Passes(model, rows, how, {block: blocks[block] for block in mine}, report)
    if search:
        groups = passes.search(passes.order, keep)
    ranks = passes.ranks(groups, keep)
    outcome = Outcome()
    if how.gate is not None:
        groups, ranks, outcome.dense = passes.gated(groups, ranks, how.gate)
    for group, states, shares in passes.walk(groups, ranks):
        if isinstance(states, States):
            outcome.groups.append((group, states.rank))
            outcome.lost.update(zip(group, shares, strict=True))
            _replace(model, blocks, group, states)
        else:
            outcome.dense += group
            for block, weight in zip(group, states, strict=True):
                weight_of(model, blocks[block]).copy_(weight)
    if hasattr(model, "save_pretrained"):  # whoever saves it from now on writes a folder that says what it is
        import inn.compress.folder

        inn.compress.folder.mark(model)
    return outcome


def _replace(model: nn.Module, blocks: Mapping[Block, Projection], group: BlockGroup, states: States) -> None:
    """Put a group's states in the model."""
    layers = put_group(model, [blocks[b] for b in group], states.rank)
    layers[0].reads.weight.copy_(states.inputs.T)
    for layer, outputs in zip(layers, states.outputs, strict=True):
        layer.write.weight.copy_(outputs)
