"""What each neuron is for: which skill its activity tells, how seldom it is active, and who is active with whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.analysis.controls.shuffle import Null, block_order
from inn.analysis.measures.activity import sparsity
from inn.analysis.measures.communities import communities
from inn.analysis.measures.information import BLOCK
from inn.config.typed import typed
from inn.system.errors import InputError


@dataclass(frozen=True)
class Specialisation:
    """A table of neurons (after arXiv 2409.02877).

    Attributes:
        names: the skills, C.
        selectivity: `[C, N]` AUROC of a neuron's activity for a skill: the chance that it is more active at a step
            of the skill than at another; 0.5 where it tells nothing.
        null: `[C, N]` the 95th percentile of how far from 0.5 it is when blocks of labels are shuffled.
        sparsity: `[N]` share of steps at which a neuron is less active than a tenth of the average neuron.
        partition: groups of neurons that are active together, as `communities` has them; its null are activities that
            are moved in time, each neuron's by itself.
    """

    names: list[str]
    selectivity: Tensor
    null: Tensor
    sparsity: Tensor
    partition: dict[str, Any]

    @property
    def selective(self) -> Tensor:
        """`[C, N]` bool: further from 0.5 than chance has it."""
        return (self.selectivity - 0.5).abs() > self.null

    @property
    def favourite(self) -> list[str]:
        """The skill at which each neuron is most active beside the others."""
        return [self.names[c] for c in self.selectivity.argmax(0).tolist()]


@typed
def specialisation(
    activity: Tensor, skills: Sequence[str] | np.ndarray, *, block: int = BLOCK, shuffles: int = 100, seed: int = 0
) -> Specialisation:
    """How specialised neurons are, from their activity at steps whose skills are known.

    Args:
        activity: `[S, N]`, as a tape or a trace has it, of steps in their order.
        skills: `[S]` the name of the skill of each step.
        block: steps whose labels are moved together in the null: neighbours are not independent.
        shuffles: of each null.
        seed: of the shuffles and of the search for communities.

    Raises:
        InputError: for labels of other steps, for a single skill, and for activity that is not finite.

    >>> skills = ["add"] * 300 + ["copy"] * 300
    >>> activity = torch.rand(600, 3) + torch.tensor([s == "copy" for s in skills])[:, None] * torch.tensor([0.0, 0, 2])
    >>> found = specialisation(activity, skills, block=10)
    >>> round(float(found.selectivity[1, 2]), 2), found.favourite[2]
    (1.0, 'copy')
    """
    from scipy.stats import rankdata  # slow to import, and every training imports this package

    names = list(dict.fromkeys(str(s) for s in skills))
    if activity.ndim != 2 or len(activity) != len(skills):
        raise InputError(
            f"activity must be [steps, neurons] of the {len(skills):,} steps whose skills are named, "
            f"not {list(activity.shape)}"
        )
    if len(names) < 2:
        raise InputError(f"a neuron is special for one skill among several; there is only {', '.join(names) or 'none'}")
    x = activity.detach().cpu().double()
    if not x.isfinite().all():
        raise InputError("activity must be finite; this is not")
    labels = torch.tensor([names.index(str(s)) for s in skills])
    ranks = torch.from_numpy(rankdata(x.numpy(), axis=0))
    generator = torch.Generator().manual_seed(seed)
    far = []
    for _ in range(shuffles):
        moved = labels[block_order(len(labels), block, generator)]
        far.append((_aurocs(ranks, moved, len(names)) - 0.5).abs())
    null = torch.stack(far).quantile(0.95, dim=0) if far else torch.zeros(len(names), x.shape[1])
    groups, moved = communities(together(x), seed, draws=0), []
    for _ in range(shuffles):
        by = torch.randint(len(x), (x.shape[1],), generator=generator)
        other = x.gather(0, (torch.arange(len(x))[:, None] + by) % len(x))
        moved.append(communities(together(other), seed, draws=0)["modularity"])
    groups["null"] = asdict(Null.of(groups["modularity"], moved or [0.0]))
    quiet = torch.stack([sparsity(one[:, None], 0.1) for one in (x / x.mean().clamp_min(1e-300)).T])
    return Specialisation(names, _aurocs(ranks, labels, len(names)), null, quiet, groups)


def together(activity: Tensor) -> np.ndarray:
    """Who is active with whom: correlations over steps `[S, N]` that are above 0, `[N, N]`.

    >>> together(torch.tensor([[0.0, 1.0, 1.0], [1.0, 2.0, 0.0]])).round(6).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    x = activity - activity.mean(0)
    size = x.norm(dim=0)
    x = x / torch.where(size > 1e-12 * size.max().clamp_min(1e-300), size, torch.inf)
    return (x.T @ x).clamp_min(0).numpy()


def _aurocs(ranks: Tensor, labels: Tensor, skills: int) -> Tensor:
    """`[C, N]`, from ranks `[S, N]` of each neuron's activity."""
    of = torch.nn.functional.one_hot(labels, skills).double()
    ones = of.sum(0)[:, None]
    return (of.T @ ranks - ones * (ones + 1) / 2) / (ones * (len(labels) - ones))
