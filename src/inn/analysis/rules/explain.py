"""Rules of the parts of a model: fitted on one text, held to another, and to parts whose activity was shuffled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inn.analysis.recording.stretches import Neurons, Reading
from inn.analysis.rules.parts import Part, recorded
from inn.analysis.rules.questions import Question, answers, questions, variables, words
from inn.analysis.rules.trees import Leaf, Tree, auroc, grow
from inn.data.base import Vocabulary

LEAVES = 8
"""Leaves of a rule, at most."""
TOP = 0.2
"""Share of the steps at which a part counts as active: those where it is most so."""
BLOCK = 64
"""Steps that are moved together in a shuffle: neighbours are not independent."""


@dataclass(frozen=True)
class Rule:
    """When a part is active, as a tree of few questions, and how well that holds.

    Attributes:
        part: whose rule it is.
        tree: its leaves' values are shares of steps at which the part is active.
        threshold: the activity above which it counts as active; at it, too, where nothing is above.
        share: of the held-out steps at which it is.
        fidelity: area under the ROC curve of the leaves' shares against that, on held-out steps.
        shuffled: the same of a rule for activity whose blocks were shuffled, on such: chance.
        coverage: share of the active steps that are in leaves which say `active`.
        precision: share of the steps in such leaves at which it is active; NaN where no leaf says so.
    """

    part: Part
    tree: Tree
    threshold: float
    share: float
    fidelity: float
    shuffled: float
    coverage: float
    precision: float

    @property
    def size(self) -> int:
        """Its leaves."""
        return len(self.tree.leaves)

    def says(self, leaf: Leaf) -> bool:
        """Whether the part is active at half of the steps of a leaf, or more."""
        return float(leaf.value) >= 0.5


@dataclass(frozen=True)
class Explanation:
    """The rules of a model's parts.

    Attributes:
        rules: of neurons, then gates, then edges.
        asked: the questions that they are made of.
        fitted, held_out: steps that they were fitted on, and held to.
    """

    rules: list[Rule]
    asked: list[Question]
    fitted: int
    held_out: int

    def lines(self, rule: Rule) -> Iterator[tuple[int, str, float | None]]:
        """A rule to read: how deep, the words, and the share of active steps where the line ends in a leaf."""
        yield from told(rule.tree.leaves, self.asked)


def told(leaves: Sequence[Leaf], asked: Sequence[Question], depth: int = 0) -> Iterator[tuple[int, str, float | None]]:
    """A tree as lines of (depth, words, value of a leaf of one number); the answer with more activity comes first."""
    if len(leaves) == 1 and len(leaves[0].path) == depth:
        if depth == 0:
            yield 0, "always", float(leaves[0].value.mean())
        return
    question = [asked[i] for i in leaves[0].path[depth][0]]
    sides = [[leaf for leaf in leaves if leaf.path[depth][1] == yes] for yes in (True, False)]
    sides.sort(key=lambda side: -max(float(leaf.value.mean()) for leaf in side))
    for side in sides:
        said = words(question, side[0].path[depth][1])
        ends = len(side) == 1 and len(side[0].path) == depth + 1
        yield depth, said, float(side[0].value.mean()) if ends else None
        yield from told(side, asked, depth + 1)


def active(activity: Tensor, top: float = TOP) -> tuple[Tensor, Tensor]:
    """The steps at which parts are active, `[S, U]` bool, and their thresholds `[U]`, by activity `[S, U]`.

    Those above the quantile 1 - `top`. A part that has its highest activity more often than that is active there.

    >>> active(torch.tensor([[0.0], [0.1], [0.2], [0.3], [0.4]]))[0].flatten().tolist()
    [False, False, False, False, True]
    """
    at = max(0, int(len(activity) * (1 - top)) - 1)
    threshold = activity.sort(0).values[at]
    return above(activity, threshold), threshold


def above(activity: Tensor, threshold: Tensor) -> Tensor:
    """Where activity is above its threshold; where none is, at it."""
    over = activity > threshold
    return torch.where(over.any(0), over, activity >= threshold)


def explain(
    model: Neurons,
    text: Reading,
    held_out: Reading,
    vocabulary: Vocabulary,
    *,
    leaves: int = LEAVES,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> Explanation:
    """When the neurons, gates and edges of a model are active, as rules that a person can read.

    Args:
        model: of symbols, or of a signal.
        text: what rules are fitted on.
        held_out: other rows, which they are held to.
        vocabulary: of the symbols, or the names of the channels.
        leaves: of a rule, at most.
        seed: of the shuffles.
        report: called with (steps read, steps to read).

    >>> from inn import INN
    >>> from inn.analysis.recording.stretches import stretches
    >>> from inn.data.vocabulary import Characters
    >>> v = Characters("ab ")
    >>> ids = v.encode("ab a ab b " * 200)
    >>> model = INN(vocab=3, neurons=2, width=8, rounds=1, recall="none")
    >>> found = explain(model, stretches(ids[:1000], 512), stretches(ids[1000:], 512), v)
    >>> found.rules[0].part.name, found.rules[0].size <= 8
    ('neuron 0, round 1', True)
    """
    total = text.size + held_out.size
    first = recorded(model, text, vocabulary, report=None if report is None else lambda done, _: report(done, total))
    later = None if report is None else lambda done, _: report(text.size + done, total)
    second = recorded(model, held_out, vocabulary, first.parts, later)
    asked = questions(first.read)
    here, there = (answers(asked, one.read) for one in (first, second))
    labels, thresholds = active(first.activity)
    truth = above(second.activity, thresholds)
    trees = grow(here, labels, leaves, variables=variables(asked))
    order, other = (_shuffle(len(one), seed + i) for i, one in enumerate((here, there)))
    chance, moved = grow(here, labels[order], leaves, variables=variables(asked)), truth[other]
    rules = []
    for u, part in enumerate(first.parts):
        score = trees[u].values(there)[:, 0]
        said, true = score >= 0.5, truth[:, u]
        both = float((said & true).sum())
        rules.append(
            Rule(
                part,
                trees[u],
                float(thresholds[u]),
                float(true.double().mean()),
                auroc(score, true),
                auroc(chance[u].values(there)[:, 0], moved[:, u]),
                both / max(1, int(true.sum())),
                both / int(said.sum()) if bool(said.any()) else float("nan"),
            )
        )
    return Explanation(rules, asked, len(here), len(there))


def _shuffle(steps: int, seed: int) -> Tensor:
    """An order of the steps in which whole blocks have changed places."""
    blocks = torch.arange(steps).split(BLOCK)
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed))
    return torch.cat([blocks[i] for i in order.tolist()])
