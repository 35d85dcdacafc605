"""The study of neurons that rest, from a result made by hand."""

from __future__ import annotations

import pytest

from inn_studies.resting import ALWAYS, Resting, share


def row(label: str, bits: float, flops: float = 1.0, reading: float = 1.0, density: float = 1.0) -> dict:
    cost = {"density": density, "flops": 1e6 * flops, "reading": reading, "training": reading}
    return {
        "label": label,
        "bits": [bits],
        "cost": [cost],
        "parameters": 1000,
        "symbols": 500,
        "data": {"name": "text"},
    }


def result(*gated: dict) -> dict:
    fixed = [row(ALWAYS, 2.0, reading=2.0), row("three rounds", 2.004, 0.75, 1.5), row("two rounds", 2.02, 0.5, 1.0)]
    return {"rows": [*fixed, *gated]}


@pytest.mark.parametrize(
    ("gated", "outcome"),
    [
        ([row("gates, 0 nats", 2.009, 0.59, 0.7, 0.5)], "reproduced"),
        ([row("gates, 0 nats", 2.011, 0.59, 0.7, 0.5)], "not reproduced"),
        ([row("gates, 0 nats", 2.009, 0.61, 0.7, 0.5)], "not reproduced"),
        ([row("gates, 0 nats", 2.009, 0.59, 0.8, 0.5)], "not reproduced"),
        ([row("gates, 0 nats", 2.0, 0.9, 0.9, 0.9), row("gates, 1 nats", 2.009, 0.5, 0.6, 0.4)], "reproduced"),
    ],
)
def test_bits_flops_and_time_decide(gated, outcome):
    (verdict,) = Resting().verdicts(result(*gated))
    assert verdict.outcome == outcome
    if outcome == "not reproduced":
        assert "three rounds: +0.004 BPC at 75% of the FLOPs" in verdict.because


def test_times_of_gates_are_beside_their_own_weights():
    table = Resting().table(found := result(row("gates, 0 nats", 2.05, 0.4, 0.6, 0.3)))
    assert "| gates, 0 nats | 2.050 | 30% | 40% | 60% | 60% |" in table
    assert "| two rounds | 2.020 | 100% | 50% | 50% | 50% |" in table
    assert share(found["rows"][1], found["rows"][0], "reading") == 0.75
