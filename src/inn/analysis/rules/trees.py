"""Trees of few questions, grown for many outcomes at once.

They are those of CART (Breiman et al. 1984), grown best first, as scikit-learn's `DecisionTreeClassifier` with
`max_leaf_nodes` grows them (`tests/analysis/test_rules.py` holds them equal). Here all answers are yes or no, so that
the best question of every part of a model, hundreds of them, comes of one product of matrices; and a split may ask for
several of the values of one variable (`last is one of 'a', 'e'`), the best set of them, which scikit-learn's do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inn.system.errors import InputError

SET = 12
"""Values of a variable that one split may ask for."""
ENOUGH = 0.95
"""Share of the gain of the best set of a variable's values with which a smaller set is taken."""
EQUAL = 1e-5
"""Gains that differ by less, as a share, are equal: sums are of float32."""
Path = tuple[tuple[tuple[int, ...], bool], ...]


@dataclass(frozen=True)
class Leaf:
    """The steps at which certain questions have certain answers.

    Attributes:
        path: (questions, answer) from the root: yes where the answer to any of them is.
        value: `[O]` the mean outcome there.
        steps: how many steps the tree was grown on are there.
    """

    path: Path
    value: Tensor
    steps: int


@dataclass(frozen=True)
class Tree:
    """A tree, as its leaves; every step is in one of them."""

    leaves: list[Leaf]

    def places(self, answers: Tensor) -> Tensor:
        """Which leaf each step is in, `[S]` int64, by answers `[S, Q]` bool."""
        at = torch.zeros(len(answers), dtype=torch.long)
        for i, leaf in enumerate(self.leaves):
            there = torch.ones(len(answers), dtype=torch.bool)
            for asked, yes in leaf.path:
                there &= any_of(answers, asked) == yes
            at[there] = i
        return at

    def values(self, answers: Tensor) -> Tensor:
        """What the tree says at each step, `[S, O]`."""
        return torch.stack([leaf.value for leaf in self.leaves])[self.places(answers)]


@dataclass
class _Node:
    path: Path
    there: Tensor  # [S] bool
    sums: Tensor  # [1 + O] steps, and outcomes
    gain: float = -1.0
    asked: tuple[int, ...] = ()
    yes: Tensor = field(default_factory=lambda: torch.empty(0))  # [1 + O] of the best question


def grow(
    answers: Tensor,
    outcomes: Tensor,
    leaves: int = 8,
    least: int = 16,
    variables: Sequence[Sequence[int]] = (),
) -> list[Tree]:
    """A tree for each of U parts, which splits where that explains most of the variance of its outcomes.

    Of an outcome that is 0 or 1 this is CART's Gini impurity. Ties go to the first question. Of a variable's values
    those with the highest mean outcome, or the lowest, are asked for together: of one outcome no set of them is better
    (Breiman et al. 1984, theorem 4.5); of several, the means are those along their first principal axis.
    Values of fewer than `least` steps come last.

    Args:
        answers: `[S, Q]` bool.
        outcomes: `[S, U]`, or `[S, U, O]` of parts with several numbers, which count alike.
        leaves: of a tree, at most.
        least: steps of a leaf, at least.
        variables: questions of which at most one is answered by yes, for each variable: its values.

    Raises `InputError` for fewer than two leaves, and where answers and outcomes are not of the same steps.

    >>> rain, wind = torch.arange(64) % 2 == 0, torch.arange(64) % 4 < 2
    >>> (tree,) = grow(torch.stack([rain, wind], 1), (rain & wind).float()[:, None])
    >>> [(leaf.path, leaf.value.item()) for leaf in tree.leaves]
    [((((0,), False),), 0.0), ((((0,), True), ((1,), False)), 0.0), ((((0,), True), ((1,), True)), 1.0)]
    """
    if leaves < 2:
        raise InputError(f"leaves must be at least 2, not {leaves}; a tree of one leaf asks nothing")
    if len(answers) != len(outcomes):
        raise InputError(f"answers at {len(answers):,} steps and outcomes at {len(outcomes):,}; give the same steps")
    y = outcomes.float()
    y = y[..., None] if y.ndim == 2 else y
    means, table = y.mean(0), answers.T.float()  # [U, O], [Q, S]
    axes = torch.linalg.svd(torch.einsum("suo,sup->uop", y - means, y - means))[0]  # the first principal one first
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    axes = axes * largest.sign()  # which way they point is the processor's choice
    y = torch.einsum("suo,uop->sup", y - means, axes)  # centred: float32 is enough
    y = torch.cat([torch.ones_like(y[..., :1]), y], -1)  # [S, U, 1 + O]
    several = [torch.tensor(of) for of in variables if len(of) > 1]
    everywhere = torch.ones(len(y), dtype=torch.bool)
    trees = [[_Node((), everywhere, y[:, u].sum(0))] for u in range(y.shape[1])]
    fresh = [(u, nodes[0]) for u, nodes in enumerate(trees)]
    while fresh:
        _ask(fresh, table, y, least, several)
        fresh = []
        for u, nodes in enumerate(trees):
            best = max(nodes, key=lambda node: node.gain)
            if len(nodes) == leaves or best.gain <= 1e-9 * len(y):
                continue
            nodes.remove(best)
            for yes in (False, True):
                said = any_of(answers, best.asked)
                path = (*best.path, (best.asked, yes))
                sums = best.yes if yes else best.sums - best.yes
                nodes.append(_Node(path, best.there & (said if yes else ~said), sums))
                fresh.append((u, nodes[-1]))
    found = []
    for u, nodes in enumerate(trees):
        nodes.sort(key=lambda node: node.path)
        values = [means[u] + axes[u] @ (n.sums[1:] / n.sums[0]) for n in nodes]
        found.append(Tree([Leaf(n.path, v, int(n.sums[0])) for n, v in zip(nodes, values, strict=True)]))
    return found


def _ask(fresh: Sequence[tuple[int, _Node]], table: Tensor, y: Tensor, least: int, variables: Sequence[Tensor]) -> None:
    """Find the best question, or set of a variable's values, for each of these nodes."""
    if not len(table):
        return
    columns = torch.cat([y[:, u] * node.there[:, None] for u, node in fresh], 1)
    sums = (table @ columns).view(len(table), len(fresh), -1)  # [Q, nodes, 1 + O]
    whole = torch.stack([node.sums for _, node in fresh])
    _keep(fresh, sums, _gain(sums, whole, least), lambda at, _: (at,))
    for of in variables:
        each = sums[of]
        mean = each[..., 1] / each[..., 0].clamp_min(1)
        for sign in (-1, 1):
            order = torch.where(each[..., 0] < least, torch.inf, sign * mean).argsort(dim=0, stable=True)[:SET]
            together = each.gather(0, order[..., None].expand(*order.shape, each.shape[-1])).cumsum(0)
            gain, chosen = _gain(together, whole, least), of[order]  # [values, nodes]
            gain = gain.masked_fill(gain < ENOUGH * gain.amax(0), -1.0)
            gain = torch.where((gain > 0).cumsum(0) == 1, gain, -1.0)  # the first, that is the smallest set
            _keep(fresh, together, gain, lambda at, i, c=chosen: _set(c[: at + 1, i]))


def _set(values: Tensor) -> tuple[int, ...]:
    return tuple(sorted(values.tolist()))


def _gain(sums: Tensor, whole: Tensor, least: int) -> Tensor:
    """What splitting nodes explains, `[Q, nodes]`, by the sums where the answer is yes; -1 of leaves too small."""
    other = whole - sums
    gain = sum((s[..., 1:].double().square().sum(-1) / s[..., 0].double().clamp_min(1)) for s in (sums, other))
    gain = gain - whole[..., 1:].double().square().sum(-1) / whole[..., 0].double()
    return gain.masked_fill((sums[..., 0] < least) | (other[..., 0] < least), -1.0)


def _keep(
    fresh: Sequence[tuple[int, _Node]], sums: Tensor, gain: Tensor, asked: Callable[[int, int], tuple[int, ...]]
) -> None:
    """Let nodes keep what is better than what they have."""
    best, at = gain.max(0)
    for i, (_, node) in enumerate(fresh):
        if float(best[i]) > max(0.0, node.gain * (1 + EQUAL)):
            node.gain, node.asked, node.yes = float(best[i]), asked(int(at[i]), i), sums[at[i], i]


def any_of(answers: Tensor, asked: Sequence[int]) -> Tensor:
    """Where any of some questions is answered by yes, `[S]` bool, by answers `[S, Q]` bool."""
    found = answers[:, asked[0]].clone()
    for i in asked[1:]:
        found |= answers[:, i]
    return found
