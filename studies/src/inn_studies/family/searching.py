"""35: ways to search, replayed on a table of 162 graphs of which each was trained once."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from inn.sweep.space import Space
from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.family.tabulated import BATCH, RATE, SEED, SMOKE, SPACE, STEPS, WIDTH, combinations, key, tabulate
from inn_studies.lab import Lab

RANDOM = "random"
KINDS = ("mcts", "tpe", "evolution", RANDOM)
REPLAYS, EVALUATIONS, MOST = 50, 40, 400
BEST, PLACE = "best bits", "its place of 162"


def replay(table: dict[str, float], space: Space, kind: str, seed: int, evaluations: int) -> list[float]:
    """Best so far after each evaluation of a search on a table, in bits; what was asked before costs nothing again."""
    from inn.sweep.search import load_optuna, sampler

    study, seen = load_optuna("entry 35").create_study(), {}
    for begun in range(MOST):
        if len(seen) == evaluations:
            break
        study.sampler = sampler(begun, kind=kind, space=space, seed=seed + 1)
        trial = study.ask()
        name = key(space.suggest(trial))
        study.tell(trial, seen.setdefault(name, table[name]))
    best = list(np.minimum.accumulate(list(seen.values())))
    return [float(b) for b in best + best[-1:] * (evaluations - len(best))]


def behind(ours: list[float], theirs: list[float], draws: int = 10_000) -> tuple[float, float]:
    """The 95 % bootstrap interval of the difference of means, ours less theirs.

    >>> behind([1.0, 1.0], [2.0, 2.0])
    (-1.0, -1.0)
    """
    rng = np.random.default_rng(0)
    a, b = (rng.choice(x, (draws, len(x))).mean(1) for x in (ours, theirs))
    low, high = np.percentile(a - b, [2.5, 97.5])
    return float(low), float(high)


class Searching(Entry):
    """Monte Carlo tree search, TPE and evolution beside random search, on the same table."""

    number = 35
    title = "Searching in trees"
    source = "*DeepArchitect*, [arXiv 1704.08792](https://arxiv.org/abs/1704.08792)"
    claim = (
        "in spaces of choices that depend on one another tree search and model-based search find better networks "
        "sooner than random search."
    )
    home = "`inn sweep --sampler` (`mcts`, `tpe`, `evolution`, `random`), `when:` in the space"
    control = "random search, which never asks for a graph twice here"
    score = (
        f"validation bits of the best of {EVALUATIONS} graphs of 162 on scikit-learn's digits, two passes; mean of "
        f"{REPLAYS} replays"
    )

    def sizes(self) -> dict[str, Any]:
        sizes = super().sizes()
        return {**sizes, "cpu": type(sizes["cpu"])("cpu", 1, 1)}

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        space = size.of(SMOKE, SPACE)
        found = tabulate(lab, space, size.of(1, STEPS))
        table = {name: one["bits"] for name, one in found.items()}
        ranked, evaluations = sorted(table.values()), size.of(4, EVALUATIONS)
        rows = []
        for kind in KINDS:
            curves = [replay(table, space, kind, s, evaluations) for s in range(size.of(2, REPLAYS))]
            last = [curve[-1] for curve in curves]
            places = [1.0 + ranked.index(bits) for bits in last]
            rows.append(row(kind, {BEST: last, PLACE: places}, control=kind == RANDOM))
            rows[-1]["curve"] = [round(float(x), 4) for x in np.mean(curves, 0)]
        commits = sorted({one["commit"] for one in found.values()})
        return {
            "rows": rows,
            "table": {name: [round(one["bits"], 4), round(one["accuracy"], 4)] for name, one in found.items()},
            "trained": {
                "task": "task:digits", "kind": "signal", "width": WIDTH, "lr": RATE, "steps": size.of(1, STEPS),
                "batch": BATCH, "seed": SEED, "settings": list(combinations(space)[0]), "columns": ["bits", "accuracy"],
                "data": next(iter(found.values()))["data"], "commits": commits, "best": ranked[0],
            },
        }  # fmt: skip

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        judged = []
        for kind in ("mcts", "tpe"):
            low, high = behind(scores(result, kind, BEST), scores(result, RANDOM, BEST))
            judged.append(
                Criterion.of(
                    kind, "no worse than random, 95 % bootstrap interval", f"{low:+.4f} to {high:+.4f} bits", high <= 0
                )
            )
        return judged

    def found(self, result: dict[str, Any]) -> str:
        middle = {kind: statistics.mean(scores(result, kind, PLACE)) for kind in KINDS}
        told = ", ".join(f"{kind} {place:.1f}" for kind, place in middle.items())
        return (
            f"the best graph of the table has {result['trained']['best']:.3f} bits; of 162 the one found is on average "
            f"number: {told}. Random search {mean(result, RANDOM, BEST):.3f} bits."
        )
