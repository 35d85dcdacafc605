"""38: how often sparse codes match by chance, the closed form beside draws."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from scipy.stats import binom

from inn.analysis import overlap
from inn_studies.family.entry import Criterion, Entry, row
from inn_studies.lab import Lab

DRAWS = 200_000
NEAR = 0.05
FORMULA, DRAWN, CHANCE = "formula", "draws", "binomial, as if cells repeated (control)"
REGIMES: dict[str, dict[str, Any]] = {
    "few cells": {"n": 64, "active": 16, "synapses": 12, "threshold": 5},
    "dense code": {"n": 200, "active": 40, "synapses": 20, "threshold": 8},
    "union of 20": {"n": 2048, "active": 40, "synapses": 20, "threshold": 10, "union": 20},
    "a million cells": {"n": 10**6, "active": 20_000, "synapses": 200, "threshold": 8},
    "noise": {"n": 2048, "active": 40, "synapses": 20, "threshold": 12, "noise": 0.3},
}
"""What is drawn: false matches of a random code, or, with noise, misses of a known one."""


def drawn(regime: str, draws: int, seed: int) -> float:
    """The share of draws that match, or miss, by drawing synapse after synapse, each from the cells that are left."""
    case, rng = REGIMES[regime], np.random.default_rng(seed)
    hits = np.zeros(draws, np.int64)
    if "noise" in case:
        for _ in range(case["synapses"]):
            hits += rng.random(draws) >= case["noise"]
        return float((hits < case["threshold"]).mean())
    for k in range(case["synapses"] * case.get("union", 1)):
        hits += rng.random(draws) * (case["n"] - k) < case["active"] - hits
    return float((hits >= case["threshold"]).mean())


def told(regime: str) -> tuple[float, float]:
    """The same in closed form, and the false matches by a binomial (of misses, which are one, nothing else)."""
    case = REGIMES[regime]
    found = overlap(**case)
    if "noise" in case:
        return found.miss, found.miss
    trials = case["synapses"] * case.get("union", 1)
    return found.false, float(binom.sf(case["threshold"] - 1, trials, case["active"] / case["n"]))


class Overlaps(Entry):
    """False matches and misses in five regimes."""

    number = 38
    title = "Sizes of sparse codes"
    source = (
        "*How do neurons operate on sparse distributed representations?*, "
        "[arXiv 1601.00720](https://arxiv.org/abs/1601.00720)"
    )
    claim = "a neuron tells sparse codes apart by a few of their cells, and how seldom it is wrong has a closed form."
    home = "`inn.analysis.overlap`"
    control = "a binomial, which lets a cell be drawn twice"
    score = "probabilities of a match (of a miss, under noise)"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        draws = size.of(2_000, DRAWS)
        cases = {f"{r} {s}": {"regime": r, "draws": draws, "seed": s} for r in REGIMES for s in range(seeds)}
        found = lab.compute(shares, cases)
        rows = []
        for regime in REGIMES:
            formula, binomial = told(regime)
            seen = [found[f"{regime} {s}"]["share"] for s in range(seeds)]
            rows.append(row(regime, {FORMULA: [formula], DRAWN: seen, CHANCE: [binomial]}, draws=draws))
        rare = overlap(n=2048, active=40, synapses=20, threshold=10)
        large = overlap(n=10**6, active=20_000, synapses=500, threshold=400)
        return {"rows": rows, "log10": {"rare": rare.log10_false, "large": large.log10_false}}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        def off(row: dict[str, Any], name: str) -> float:
            seen = statistics.mean(row["scores"][DRAWN])
            return abs(row["scores"][name][0] / seen - 1) if seen else float("inf")

        enough = all(r["draws"] >= DRAWS and len(r["scores"][DRAWN]) > 2 for r in result["rows"])
        rows, logs = result["rows"], result["log10"]
        found = [
            Criterion.of(r["model"], "within 5 % of the draws", f"{off(r, FORMULA):.2%} off",
                         off(r, FORMULA) <= NEAR if enough else None)
            for r in rows
        ]  # fmt: skip
        worst = max(off(r, CHANCE) for r in rows)
        return [
            *found,
            Criterion.of("binomial", "control: more than 5 % off somewhere", f"{worst:.1%} off", worst > NEAR),
            Criterion.of("rare matches", "3.9e-13 at n 2048, a 40, s 20, threshold 10", f"{10 ** logs['rare']:.1e}",
                         f"{10 ** logs['rare']:.1e}" == "3.9e-13"),
            Criterion.of("n = 10^6", "a finite logarithm", f"log10 = {logs['large']:.0f}",
                         bool(np.isfinite(logs["large"]))),
        ]  # fmt: skip


def shares(regime: str, draws: int, seed: int) -> dict[str, float]:
    """`drawn`, as a case of `Lab.compute`."""
    return {"share": drawn(regime, draws, seed)}
