"""The comparison of the default with its rivals, read from a result made by hand."""

from __future__ import annotations

import pytest

from inn.models.build import build_model
from inn_studies.rivals import MODELS, OURS, SIZES, SWEEP, Rivals
from inn_studies.rows import jobs, model_settings


def row(label, bits, flops=1e6, seeds=3):
    return {
        "label": label,
        "parameters": 1000,
        "training_flops_per_symbol": flops,
        "lr": 0.01,
        "sweep_valid_bits": {"0.01": bits + 0.5, "0.02": bits + 0.6, "0.04": None},
        "valid_bits": [bits] * seeds,
        "test_blocks": [[bits - 0.1, bits + 0.1]] * seeds,
        "test_by_age": {"0-256": bits + 1, "256-1024": bits},
    }


def result(**bits):
    population = {"effective_neurons": 4.75, "lost_bits": [0.3, 0.01]}
    rows = [row(label.replace("_", " ").replace("0", "-"), b) for label, b in bits.items()]
    return {"rows": rows, "population": population}


def test_a_lead_that_is_large_enough():
    text = Rivals().table(result(inn=1.70, one_wide_neuron=1.75, no_communication=1.80, mamba0stack=1.9))
    assert (
        "| one wide neuron | 1,000 | 1.00 M | 0.01 | 3 | 1.750 ± 0.000 | 1.750 ± 0.000 | +0.050 [+0.050, +0.050] |"
        in text
    )
    assert "The best rival is 'one wide neuron': the graph is ahead by at least 0.02 BPC (+0.050" in text
    assert "Without communication it loses +0.100" in text
    assert "| inn | 2.700 | 1.700 |" in text
    assert (
        "inn 2.200, one wide neuron 2.250, no communication 2.300, mamba-stack 2.400. There the graph is ahead" in text
    )
    assert "2 neurons amount to 4.8 (goal: at least 1)" in text
    assert "0.010 to 0.300 BPC: every neuron costs something" in text


@pytest.mark.parametrize("rival, flops", [(1.71, 1e6), (1.75, 0.8e6), (1.60, 1e6)])
def test_one_that_is_not(rival, flops):
    found = result(inn=1.70, one_wide_neuron=rival, no_communication=1.80)
    found["rows"][1]["training_flops_per_symbol"] = flops
    assert "the graph is not ahead" in Rivals().table(found)


@pytest.mark.parametrize("sizes", [SIZES, SWEEP])
@pytest.mark.parametrize("scale", ["cpu", "gpu"])
def test_equal_parameters_and_compute(sizes, scale):
    size, models = sizes[scale], {}
    for label in MODELS:
        (job,) = jobs(size, label, model_settings(size, label), [1e-3], [0])
        models[label] = build_model(job.config().model)
    ours = models[OURS]
    for label, model in models.items():
        assert model.num_parameters == pytest.approx(ours.num_parameters, rel=0.06), label
        assert ours.training_flops <= 1.1 * model.training_flops or label == "lstm", label
    if scale == "cpu":
        assert ours.num_parameters <= 1_200_000
