"""The study of mixed populations: rows of as many FLOPs, and what it says of results made by hand."""

from inn.config.settings import resolve
from inn.models.build import build_model
from inn_studies.mixed import DEFAULT, FLOPS, MODELS, SIZES, said
from inn_studies.rows import model_settings


def test_rows_cost_no_more_than_the_goal_allows():
    settings = {label: model_settings(SIZES["cpu"], label) for label in MODELS}
    of = {label: [f"--{name}={value}" for name, value in own.items()] for label, own in settings.items()}
    costs = {
        label: sum(build_model(resolve("text8-last", of[label]).config.model).flops().values()) for label in MODELS
    }
    assert max(costs.values()) <= FLOPS * costs[DEFAULT]


def row(label, bits, mixed, flops=1.0):
    return {"label": label, "test_bits": bits, "diverged": not bits, "mixed": mixed, "training_flops_per_symbol": flops}


def test_the_best_of_several_kinds_is_told_beside_that_of_one():
    rows = [
        row(DEFAULT, [2.0, 2.1], False),
        row("ring", [1.97, 2.07], False, 1.05),
        row("mixed", [1.99, 2.09], True, 1.09),
        row("too dear", [1.5, 1.6], True, 1.2),
        row("diverged", [], True),
    ]
    told = said(rows)
    assert "The best of several kinds, 'mixed', is 0.010" in told
    assert "at 1.09 times the FLOPs: not reached" in told
    assert "The best of one kind, 'ring', is 0.030" in told
    assert "at 1.05 times the FLOPs: reached" in told
