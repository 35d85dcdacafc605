"""What entries measure is what they say, on cases whose answer is known; and their verdicts follow the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from inn.models.build import parameters_of
from inn_studies.family import elm, overlaps, switches
from inn_studies.family.entry import row
from inn_studies.where.harness import configured


def verdicts(entry, result: dict) -> dict[str, str]:
    return {c.id: c.verdict for c in entry.criteria(result)}


def switched(gated: float, attention: float, cells=switches.CELLS) -> dict:
    worth = {("add", False): 1.0, ("learned", False): 1.0, ("input", False): gated, ("input", True): attention}
    rows = [
        row(switches.label(cell, *way), {"valid time": [value, value]}, parameters=20_100)
        for cell in cells
        for way, value in worth.items()
    ]
    return {"rows": [*rows, *(row(name, {"valid time": [0.2]}, control=True) for name in switches.CHEAP)]}


def test_switches_are_judged_in_every_cell():
    entry = switches.Switches()
    assert set(verdicts(entry, switched(1.3, 1.4)).values()) == {"yes"}
    assert verdicts(entry, switched(1.2, 1.1)) == {
        "gate": "no", "attention with the gate": "no", "baselines": "yes", "size": "yes",
    }  # fmt: skip
    assert verdicts(entry, switched(1.3, 1.4, ("gru",)))["gate"] == "undecided"
    one = switched(1.3, 1.4)
    one["rows"][2]["scores"]["valid time"] = [1.1]  # of the first cell
    assert verdicts(entry, one)["gate"] == "no"
    assert "elman, input + attention (1.40)" in entry.found(switched(1.3, 1.4))


def test_a_forecast_is_valid_until_it_is_half_a_deviation_off():
    task, steps = switches.trajectories("test", 5)
    right = steps[:, switches.READ :]
    unit = task.options.dt * switches.LYAPUNOV
    assert switches._times(lambda seen: right, "test", 5) == pytest.approx([switches.TOLD * unit] * 5)
    late = right.copy()
    late[1, 40:] += 0.51 * steps.std()
    late[2, 40:] += 0.49 * steps.std()
    late[3, 7] = np.nan
    found = switches._times(lambda seen: late, "test", 5) / unit
    assert found == pytest.approx([switches.TOLD, 40, switches.TOLD, 7, switches.TOLD])
    cheap = switches.baselines("test", 5)
    assert 0 <= cheap["climatology"] < cheap["persistence"] < 1


@pytest.mark.slow
def test_all_combinations_are_of_one_size():
    sizes = {"features": 8, "outputs": 8, "head": "next"}
    found = {name: parameters_of(configured(f, sizes)) for name, f in switches.combinations(sizes).items()}
    assert len(found) == 24
    assert max(abs(n / switches.PARAMETERS - 1) for n in found.values()) <= switches.NEAR


def digits(ours: float, lstm: float, control: float, off: float = 1e-9, more: float = 1.0) -> dict:
    rows = [
        row(name, {"test": [value]}, parameters=round(10_000 * (more if name != elm.LSTM else 1)))
        for name, value in ((elm.OURS, ours), (elm.LSTM, lstm), (elm.CONTROL, control))
    ]
    return {"rows": rows, "impulse": {"off": off, "steps": 64, "shortest": 1.0, "longest": 1000.0}}


def test_the_elm_is_judged_beside_an_lstm_of_its_size_and_without_slow_units():
    entry = elm.Elm()
    assert set(verdicts(entry, digits(0.795, 0.8, 0.5)).values()) == {"yes"}
    assert verdicts(entry, digits(0.78, 0.8, 0.5))["digits"] == "no"
    assert verdicts(entry, digits(0.8, 0.8, 0.81))["control"] == "no"
    assert verdicts(entry, digits(0.8, 0.8, 0.5, off=1e-5))["impulse"] == "no"
    assert verdicts(entry, digits(0.8, 0.8, 0.5, more=1.2))["size"] == "no"


def test_an_impulse_fades_by_the_time_constants():
    found = elm.impulse(30)
    assert found["off"] < 1e-12
    assert (round(found["shortest"]), round(found["longest"])) == (1, 1000)


def test_overlaps_are_held_to_draws():
    entry = overlaps.Overlaps()
    rows = []
    for regime in overlaps.REGIMES:
        formula, binomial = overlaps.told(regime)
        scores = {overlaps.FORMULA: [formula], overlaps.DRAWN: [formula] * 3, overlaps.CHANCE: [binomial]}
        rows.append(row(regime, scores, draws=overlaps.DRAWS))
    result = {"rows": rows, "log10": {"rare": np.log10(3.9e-13), "large": -600.0}}
    assert set(verdicts(entry, result).values()) == {"yes"}
    rows[1]["scores"][overlaps.FORMULA] = [1.06 * rows[1]["scores"][overlaps.FORMULA][0]]
    assert verdicts(entry, result)["dense code"] == "no"
    assert overlaps.drawn("few cells", 4000, 0) == pytest.approx(overlaps.told("few cells")[0], rel=0.15)
