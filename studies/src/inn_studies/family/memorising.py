"""27: neurons that memorise wrong answers and neurons that generalise, told apart by their frequencies."""

from __future__ import annotations

from typing import Any

from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.grokking import DECAYED, NOISY, SIZES, graphs, nets
from inn_studies.lab import Lab
from inn_studies.quadratic import CUTS

TAUGHT, RIGHT, TEST = "wrong labels, as taught", "wrong labels, right", "test accuracy"
WHOLE, LOW, _, HALF, _, HIGH = CUTS
FORGOTTEN, KEPT, BROKEN, HEALED = 0.15, 0.97, 0.3, 0.99
NET, GRAPH, DECAY = "two layers", "graph", "two layers, strong decay"
BY = ("weights", "answers")


class Memorising(Entry):
    """Two layers of squares on a table with wrong answers, some neurons cut; and a graph of neurons."""

    number = 27
    title = "Neurons that memorise, neurons that generalise"
    source = "*To grok or not to grok*, [arXiv 2310.13061](https://arxiv.org/abs/2310.13061)"
    claim = (
        "a network fits wrong labels and generalises at once, by different neurons: without those of many frequencies "
        "it answers the corrupted examples right, and weight decay or dropout does the same."
    )
    home = "`inn.analysis.ipr`, task `modular` with `corrupted`, `inn study grokking`"
    control = "as many neurons at random; those of the fewest frequencies; nothing cut; a graph of neurons"
    score = "shares of the wrongly labelled examples and of the test part"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        net = nets(lab, size.of("smoke", "cpu"), seeds, [NOISY, DECAYED])
        graph = graphs(lab, SIZES[size.of("smoke", "cpu")], seeds, [NOISY])[NOISY]
        known = {NET: [of["cuts"] for of in net[NOISY]], DECAY: [of["cuts"] for of in net[DECAYED]]}
        known |= {f"{GRAPH}, by {what}": [of["cuts"][what] for of in graph] for what in BY}
        rows = [
            row(f"{label}, without {what}",
                {said: [of[what][name] for of in cuts]
                 for said, name in ((TAUGHT, "taught"), (RIGHT, "right"), (TEST, "test"))},
                control=what in (WHOLE, HALF, "a random fifth"))
            for label, cuts in known.items()
            for what in ((WHOLE, LOW) if label == DECAY else CUTS)
        ]  # fmt: skip
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        def of(what: str, score: str, label: str = NET) -> list[float]:
            return scores(result, f"{label}, without {what}", score)

        taught, test, high = of(LOW, TAUGHT), of(LOW, TEST), of(HIGH, TEST)
        both, healed = list(zip(of(WHOLE, TAUGHT), of(WHOLE, TEST), strict=True)), of(WHOLE, RIGHT, DECAY)
        between = [
            low < half < whole
            for low, half, whole in zip(taught, of(HALF, TAUGHT), of(WHOLE, TAUGHT), strict=True)
        ]  # fmt: skip
        return [
            Criterion.of("at once", "whole: ≥ 90 % of the wrong labels and of the test part",
                         f"{min(a for a, _ in both):.3f} and {min(b for _, b in both):.3f} at least",
                         all(min(pair) >= 0.9 for pair in both)),
            Criterion.of("lowest half", f"wrong labels ≤ {FORGOTTEN}, test ≥ {KEPT}",
                         f"{max(taught):.3f} at most, {min(test):.3f} at least",
                         max(taught) <= FORGOTTEN and min(test) >= KEPT),
            Criterion.of("highest fifth", f"test ≤ {BROKEN}", f"{max(high):.3f} at most", max(high) <= BROKEN),
            Criterion.of("random half", "wrong labels between whole and without the lowest half",
                         f"{sum(between)} of {len(between)} seeds", all(between)),
            Criterion.of("decay", f"weight decay 15: ≥ {HEALED} of the wrong labels answered right",
                         f"{min(healed):.3f} at least", min(healed) >= HEALED),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        def of(what: str, score: str, by: str) -> float:
            return mean(result, f"{GRAPH}, by {by}, without {what}", score)

        each = "; ".join(
            f"by the IPR of its {by} without the lowest half {of(LOW, TAUGHT, by):.2f} and {of(LOW, TEST, by):.2f}, "
            f"without the highest fifth {of(HIGH, TAUGHT, by):.2f} and {of(HIGH, TEST, by):.2f}"
            for by in BY
        )
        return (
            f"a graph of neurons tells {of(WHOLE, TAUGHT, BY[0]):.2f} of the wrong labels as taught, with a test "
            f"accuracy of {of(WHOLE, TEST, BY[0]):.2f}; {each}; without a random half "
            f"{of(HALF, TAUGHT, BY[0]):.2f} and {of(HALF, TEST, BY[0]):.2f}."
        )
