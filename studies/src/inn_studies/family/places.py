"""11: spiking networks that know a stretch of a route each, with and without the neurons that answer everywhere."""

from __future__ import annotations

from typing import Any

from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.family.examples import example
from inn_studies.lab import Lab

REGIONS = (2, 4, 8)
LEARNED, REMOVED, RANDOM, OFF = "as learned", "without the hyperactive", "without as many at random", "off"
NEAREST = "nearest picture"
GAIN, FLAT, CHANCE = 0.05, 0.10, 0.01
FASTER = 0.3
"""Of thresholds that rise thrice as fast: few neurons win nothing."""


def recalled(regions: int, seed: int, rise: float | None = None) -> dict[str, float]:
    """Recall@1 of the example's networks (for `Lab.compute`)."""
    code = example("places", 11)
    return code.recalls(regions, seed, code.RISE if rise is None else rise)


def named(regions: int, rise: float | None = None) -> str:
    """A row's label."""
    return f"{regions} regions" + ("" if rise is None else ", thresholds rise faster")


class Places(Entry):
    """Recall@1 of a second drive along routes of 50, 100 and 200 places."""

    number = 11
    title = "Regions of a route, and neurons that answer everywhere"
    source = (
        "*Ensembles of Compact, Region-specific & Regularized Spiking Neural Networks for Scalable Place Recognition*, "
        "[arXiv 2209.08723](https://arxiv.org/abs/2209.08723)"
    )
    claim = (
        "small spiking networks that learn a region each scale to long routes, once hyperactive neurons, which answer "
        "to places outside of their region, are found and removed."
    )
    home = "`inn.analysis.hyperactive`, `inn.analysis.silenced`, memory `lif`; `examples/places.py`"
    control = "as many neurons off at random; none off; the nearest picture of the first drive"
    score = "recall@1 on the second drive along a made route; the share of neurons that are off"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        rows = []
        for many, rise in size.of(((2, None),), (*((many, None) for many in REGIONS), (4, FASTER))):
            cases = {
                f"{named(many, rise)} {seed}": {"regions": many, "seed": seed, "rise": rise} for seed in range(seeds)
            }
            found = list(lab.compute(recalled, cases).values())
            kinds = (LEARNED, REMOVED, RANDOM, NEAREST, OFF)
            rows.append(row(named(many, rise), {kind: [f[kind] for f in found] for kind in kinds}))
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        ways = [named(many) for many in REGIONS if any(r["model"] == named(many) for r in result["rows"])]
        enough = len(scores(result, ways[0], LEARNED)) > 2 and len(ways) == len(REGIONS)
        after = [mean(result, way, REMOVED) for way in ways]
        gains, drawn = (
            [mean(result, way, kind) - mean(result, way, LEARNED) for way in ways] for kind in (REMOVED, RANDOM)
        )

        def judged(id: str, goal: str, values: list[float], met: bool) -> Criterion:
            told = ", ".join(f"{100 * v:+.1f}" for v in values)
            return Criterion.of(id, goal, f"{told} for {', '.join(ways)}", met if enough else None)

        flat = max(after) - min(after)
        return [
            judged("hyperactive off", "≥ 5 points of recall@1 gained, 3 seeds", gains, min(gains) >= GAIN),
            judged("control: as many at random", "≤ 1 point gained", drawn, max(drawn) <= CHANCE),
            Criterion.of(
                "flat", "≤ 10 points between 2, 4 and 8 regions with removal", f"{100 * flat:.1f}",
                flat <= FLAT if enough else None,
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        faster = named(4, FASTER)
        if not any(r["model"] == faster for r in result["rows"]):
            return ""
        return (
            "how much there is to gain is a matter of learning: where thresholds rise thrice as fast, so that nearly "
            f"every neuron wins a place, four regions have {mean(result, faster, LEARNED):.2f} as learned and "
            f"{mean(result, faster, REMOVED):.2f} after. The nearest picture of the first drive, which stores them "
            f"all, is right at {mean(result, named(4), NEAREST):.2f}; the route is made, and its drives differ in "
            "light, noise and a pixel's shift."
        )
