"""Entries 29, 30 and 33: what they measure on cases whose answer is known, and their verdicts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import inn
from inn.compress.spikes import spiking as coded
from inn_studies.family import association, spikes, spiking
from inn_studies.family.entry import row


def verdicts(entry, result: dict) -> dict[str, str]:
    return {c.id: c.verdict for c in entry.criteria(result)}


def recalled(off: float = 0.0, second: float = 0.01, back: float = 1.0) -> dict:
    def law(d: float) -> dict[str, list[float]]:
        return {f"m{k + 1}": [(1 - d) * d**k + off] for k in range(3)}

    rows = [row(f"d = {d:g}", law(d)) for d in (*association.BLANKS, association.BEYOND)]
    alone = row("d = 0", {"m1": [1.0], "m2": [second], "m3": [0.0]}, control=True)
    return {"rows": [alone, *rows], "back": [1.0, back], "count": 150}


def test_overlaps_are_judged_by_the_law():
    entry = association.Association()
    assert set(verdicts(entry, recalled()).values()) == {"yes"}
    assert verdicts(entry, recalled(off=0.04)) == {"overlaps": "no", "control": "yes", "completion": "yes"}
    assert verdicts(entry, recalled(second=0.99))["control"] == "no"
    assert verdicts(entry, recalled(back=0.9))["completion"] == "no"


def test_three_diluted_patterns_near_the_law():
    found = [association.overlaps(1000, 0.4, seed) for seed in range(3)]
    for k, name in enumerate(("m1", "m2", "m3")):
        assert np.mean([one[name] for one in found]) == pytest.approx(0.6 * 0.4**k, abs=0.05)
    assert association.recalled(400, 20, 0)["overlap"] >= 0.95


def test_dealing_times_out_anew_keeps_pixels_and_steps():
    before = np.zeros((2, 5, 7), np.float32)
    before[0, [0, 1, 1, 3, 4], [6, 0, 2, 3, 5]] = 1
    after = spiking.exchanged(before, 0)
    assert (after.sum(1) == before.sum(1)).all()
    assert (after.sum(2) == before.sum(2)).all()
    assert not (after == before).all()
    assert not after[1].any()


def told(psn=(0.92, 0.3), rises=1.0) -> dict:
    scores = dict.fromkeys(spiking.MODELS, (0.93, 0.76)) | {"PSN": psn}
    rows = [
        row(label, {"test": [a], "times dealt out anew": [b], "energy rises": [rises]})
        for label, (a, b) in scores.items()
    ]
    return {"rows": [*rows, row(spiking.WHICH, {"test": [0.9]}), row(spiking.GREY, {"test": [0.96]})]}


def test_times_are_needed_where_one_that_is_right_loses_without_them():
    entry = spiking.Spiking()
    assert set(verdicts(entry, told()).values()) == {"yes"}
    assert verdicts(entry, told(psn=(0.89, 0.1)))["times"] == "no"  # it needs them, but is not right often enough
    assert verdicts(entry, told(psn=(0.95, 0.8)))["times"] == "no"
    assert verdicts(entry, told(rises=0.0))["energy"] == "no"


def rows_of(two: float = 0.005, silent: float = 0.6, coarse: float = 0.3, exact: float = 1.0) -> dict:
    rows = []
    for label, sign, base in ((spikes.DIGITS, -1, 0.95), (spikes.TEXT, 1, 1.8)):
        scores = {spikes.at(k): [base + sign * two] for k in spikes.KS}
        scores |= {spikes.at(0): [base], spikes.at(spikes.COARSE): [base + sign * coarse]}
        scores |= {f"silent, {spikes.at(k)}": [silent] for k in spikes.KS} | {"sums exact": [exact]}
        rows.append(row(label, scores))
    return {"rows": rows}


def test_spike_codes_are_judged_on_digits_and_on_text():
    entry = spikes.SpikeCoding()
    assert set(verdicts(entry, rows_of()).values()) == {"yes"}
    worse = verdicts(entry, rows_of(two=0.03))
    assert (worse["digits"], worse["text"]) == ("no", "no")
    assert verdicts(entry, rows_of(silent=0.4))["silence"] == "no"
    assert verdicts(entry, rows_of(exact=0.0))["sums"] == "no"
    assert verdicts(entry, rows_of(coarse=0.0))["control"] == "no"


def test_sums_of_a_models_spikes_are_exact():
    model = coded(inn.INN(vocab=11, neurons=2, width=8, rounds=1, recall=[]), 2.0)
    assert spikes.exact(model, torch.arange(6)[None])
    assert not spikes.exact(inn.INN(vocab=11, neurons=2, width=8, rounds=1, recall=[]), torch.arange(6)[None])
