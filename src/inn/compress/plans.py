"""Plans: how a model is compressed; every published method of this family is one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inn.compress.topologies import ROLES, TOPOLOGIES
from inn.system.errors import lookup

WEIGHTS = ("none", "activations", "gradients", "moments", "fisher")
SEQUENTIAL = ("no", "inputs", "outputs")


@dataclass(frozen=True)
class CompressionPlan:
    """How a model is compressed.

    Attributes:
        topology: which blocks share input states: see `parse_topology`; `search` looks for the best, `none` leaves them
            as they are.
        weigh: what an error is measured by: `none` the weights themselves (plain SVD); `activations` inputs by their
            mean size (ASVD); `gradients` inputs by their weights' mean squared gradient (FWSVD); `moments` what the
            outputs lose on the text (SVD-LLM and all that follow); `fisher` the same with every output by how much the
            loss minds an error there.
        refit: whether every block's own states are fitted anew beside the shared ones.
        allocate: `even` keeps the same share everywhere; `energy` the directions that carry the most, wherever they
            are, and dense weights where states would cost as much.
        balance: whether blocks that share count by their size, not by how large their outputs are.
        sequential: `no`; `inputs`: a group is calibrated on what the compressed ones before it make of the text;
            `outputs`: the same, its weights corrected half way to what gives there what the dense model gives.
        gate: a block that loses more than this many times the mean share of output energy stays dense (the NGC authors'
            code has 1.5); None replaces all.
        neurons: whether MLPs lose neurons, in place of their weights' ranks: the ones that cost the least, the
            projection that reads the others fitted anew (`inn.compress.neurons`).
        heads: whether attention loses heads so, in place of its weights' ranks: keys and values with all queries that
            hear them (`inn.compress.heads`).
    """

    topology: str = "search"
    weigh: str = "moments"
    refit: bool = True
    allocate: str = "energy"
    sequential: str = "outputs"
    gate: float | None = None
    balance: bool = True
    neurons: bool = False
    heads: bool = False


PLANS = {
    "auto": CompressionPlan("svd-llm", "fisher", refit=False, balance=False, neurons=True),
    "neurons": CompressionPlan("none", "moments", allocate="even", balance=False, neurons=True),
    "heads": CompressionPlan("none", "moments", allocate="even", balance=False, neurons=True, heads=True),
    "groups": CompressionPlan(),
    **{
        name: CompressionPlan(topology, weigh, refit=False, allocate="even", sequential="no", balance=False)
        for name, topology, weigh in (
            ("svd", "svd-llm", "none"),
            ("fwsvd", "svd-llm", "gradients"),
            ("asvd", "svd-llm", "activations"),
            ("svd-llm", "svd-llm", "moments"),
            ("basis-sharing", "basis-sharing", "moments"),
            ("in-layer", "in-layer", "moments"),
        )
    },
}
"""Plans that have a name; the published ones as published. Any topology is one too."""


def named_plan(name: str, also: Iterable[str] = ()) -> CompressionPlan:
    """A plan by its name or its topology; `also`: names that the error for any other lists beside the plans'.

    >>> named_plan("svd-llm").weigh, named_plan("qk-v").topology
    ('moments', 'qk-v')
    """
    if name in PLANS:
        return PLANS[name]
    if name in TOPOLOGIES or set(name) <= {*ROLES, "-", "|"} or "{" in name:
        return CompressionPlan(name)
    return lookup("plan", name, {**PLANS, **dict.fromkeys(also)})
