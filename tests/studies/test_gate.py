"""The gate study: what silence could save, and its verdicts on results made by hand."""

import pytest

import inn
from inn_studies.gate import SILENT, Gates, emission_flops, failed

FLOORS = {"bigram": 3.43}


def row(gate, bits, diverged=(0, 0)):
    points = [{"lr": r, "bits": [b], "diverged": d} for r, b, d in zip((0.003, 0.1), bits, diverged, strict=True)]
    return {"gate": gate, "points": points, "parameters": 1000, "symbols": 500, "data": {"name": "text8-69m"}}


def trial(label, bits, opened=(), skippable=0.0):
    found = [{"open": [list(opened)], "skippable": skippable}] if opened else []
    flops = {"memory.matrices": 75.0, "routing.matrices": 20.0, "routing.messages": 5.0}
    return {"label": label, "bits": bits, "open": found, "flops": flops}


def result(none=(2.0, 2.5), soft=(2.0, 2.4), hard=(2.0, 2.4), trials=()):
    kept = [trial(SILENT, [2.06]), trial("no gate", [2.0]), *trials]
    rows = [row("none", none), row("soft", soft), row("hard", hard)]
    return {"rows": rows, "penalties": kept, "usual_lr": 0.003, "lr": 0.003, "floors": FLOORS}


@pytest.mark.parametrize(
    ("changed", "outcome", "because"),
    [
        ({}, "not reproduced", "wherever it trains with one"),
        ({"none": (2.0, 3.5)}, "not reproduced", "a gate helps at lr 0.1 only"),
        ({"none": (3.5, 3.5)}, "reproduced", "fails at the usual learning rate"),
        ({"none": (4.0, 4.0), "soft": (4.0, 4.0), "hard": (4.0, 4.0)}, "not measured", "too short"),
    ],
)
def test_divergence(changed, outcome, because):
    verdict = Gates().verdicts(result(**changed))[0]
    assert verdict.outcome == outcome
    assert because in verdict.because


def test_a_run_fails_when_it_diverges_or_is_no_better_than_bigrams():
    assert failed({"bits": [], "diverged": 1}, FLOORS)
    assert failed({"bits": [2.0], "diverged": 1}, FLOORS)
    assert failed({"bits": [3.5], "diverged": 0}, FLOORS)
    assert not failed({"bits": [3.4], "diverged": 0}, FLOORS)


def test_saving_needs_equal_results():
    closed, cheap = trial("hard, 1 nats", [2.005], (0.0, 0.5), 0.08), trial("hard, 0 nats", [2.0], (1.0, 1.0), 0.0)
    verdict = Gates().verdicts(result(trials=[cheap, closed]))[1]
    assert verdict.outcome == "reproduced"
    assert verdict.ours == "8.0% of the FLOPs at +0.005 BPC (hard, 1 nats)"
    assert verdict.because.endswith("no messages at all cost +0.060 BPC")
    worse = {**closed, "bits": [2.05]}
    verdict = Gates().verdicts(result(trials=[cheap, worse]))[1]
    assert (verdict.outcome, verdict.ours) == ("not reproduced", "0.0% of the FLOPs at +0.000 BPC (hard, 0 nats)")
    assert Gates().verdicts(result(trials=[worse]))[1].outcome == "not reproduced"


def test_table():
    shown = result(none=(2.0, 3.5), trials=[trial("hard, 1 nats", [2.5], (0.0, 0.5, 1.0, 1.0), 0.08)])
    shown["rows"][1]["points"][1] = {"lr": 0.1, "bits": [], "diverged": 2}
    table = Gates().table(shown)
    assert "| gate none | 2.000 | 3.500 *failed* |" in table
    assert "| gate soft | 2.000 | 2 diverged |" in table
    assert "| no messages | 2.060 | – | – | – | 25.0% |" in table
    assert "| hard, 1 nats | 2.500 | 62.5% | 25% | 25% | 8.0% |" in table


def test_what_a_message_costs_is_within_what_the_router_costs():
    model = inn.INN(vocab=27, neurons=4, width=16, rounds=2, heads=2, router="attention", recall=[], gate="hard")
    all_closed = sum(4 * emission_flops(model) for _ in range(2))
    costs = model.flops()
    value_maps = 2 * 4 * 2 * 16**2
    assert all_closed == value_maps + costs["routing.messages"] / 2  # the other half is for the weights
    assert all_closed < costs["routing.matrices"] + costs["routing.messages"]
