"""Rules of the parts of a model: fitted on one text, held to another, and to parts whose activity was shuffled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inn.analysis.controls.shuffle import block_order
from inn.analysis.lesions.cause import mean_bits
from inn.analysis.measures.information import BLOCK
from inn.analysis.recording.stretches import Neurons, Reading
from inn.analysis.rules.parts import Part, recorded
from inn.analysis.rules.questions import Question, answers, questions, variables, words
from inn.analysis.rules.read import Read
from inn.analysis.rules.speech import bits_with, spoken
from inn.analysis.rules.trees import Leaf, Tree, grow
from inn.data.base import Vocabulary
from inn.inference.examples import auroc

LEAVES = 8
"""Leaves of a rule, at most."""
TOP = 0.2
"""Share of the steps at which a part counts as active: those where it is most so."""
ROWS = 8
"""Rows on which rules are put in the place of neurons."""


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
        says: what each neuron says, by a tree of as many leaves for each place and neuron
            (`inn.analysis.rules.speech`); None of a large graph.
        means: `[P, N, D]` what they say on average.
        read: what was read of the held-out text.
    """

    rules: list[Rule]
    asked: list[Question]
    fitted: int
    held_out: int
    says: list[list[Tree]] | None
    means: Tensor | None
    read: Read

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
    for said, side in zip((words(question, sides[0][0].path[depth][1]), "otherwise"), sides, strict=True):
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
    order, other = (
        block_order(len(one), BLOCK, torch.Generator().manual_seed(seed + i)) for i, one in enumerate((here, there))
    )
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
                auroc(score.numpy(), true.numpy()),
                auroc(chance[u].values(there)[:, 0].numpy(), moved[:, u].numpy()),
                both / max(1, int(true.sum())),
                both / int(said.sum()) if bool(said.any()) else float("nan"),
            )
        )
    says = means = None
    if first.speech is not None:
        means = first.speech.mean(1)
        says = [grow(here, place, leaves, variables=variables(asked)) for place in first.speech]
    return Explanation(rules, asked, len(here), len(there), says, means, second.read)


def remaining(
    model: Neurons, held_out: Reading, found: Explanation, report: Callable[[int, int], None] | None = None
) -> dict[str, Any] | None:
    """The loss that remains with rules in place of neurons, in bits per target, on some of the held-out text.

    What a neuron says is replaced by what it says on average in the leaf that the step falls into, for all others and
    the readout; without any rule by what it says on average. Votes of what is recalled stay.

    Returns `whole`, the bits of the model; `rules` and `mean`, those with all neurons replaced; `neurons`, what each
    replaced alone adds, by its rule and by its mean; and `targets`. None of a large graph.
    """
    if found.says is None or found.means is None:
        return None
    rows = torch.linspace(0, len(held_out.tokens) - 1, min(ROWS, len(held_out.tokens))).round().long()
    read = replace(found.read, given=found.read.given[rows], begins=found.read.begins[rows], recall={
        name: (a[rows], b[rows]) for name, (a, b) in found.read.recall.items()
    })  # fmt: skip
    told = spoken(found.says, found.asked, read)
    means = found.means[:, None, None].expand_as(told)
    everyone = range(model.config.neurons)
    sets = [(which, by) for which in ([n] for n in everyone) for by in (told, means)]
    bits = bits_with(model, held_out.rows(rows), [(everyone, told), (everyone, means), *sets], report)
    whole, *rest = (float(mean_bits(one)) for one in bits)
    each = [b - whole for b in rest[2:]]
    return {
        "whole": whole,
        "rules": rest[0],
        "mean": rest[1],
        "neurons": [{"neuron": n, "rules": each[2 * n], "mean": each[2 * n + 1]} for n in everyone],
        "targets": int((~bits[0].isnan()).sum()),
    }
