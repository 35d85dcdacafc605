"""Study organs: penalties and low-rank changes are their formulas, and what is said follows the numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inn_studies import organs
from inn_studies.low_rank import LowRank


def result(graph, rival):
    runs = {
        label: [{"matrix": [[2.0, 5.0], [2.0 + a, 3.0]], "parameters": 9}] for label, a in (("g", graph), ("r", rival))
    }
    own = {label: runs["g" if label.startswith("graph") else "r"] for label in organs.RATES}
    rows = [{"label": organs.SHOWN.get(label, label), "runs": [dict(runs[0])]} for label, runs in own.items()]
    rows[0]["runs"][0] |= {"novelty": [None, 3.0], "expanded": [1]}
    return {"rows": rows, "texts": ["one", "two"], "symbols": 10}


@pytest.mark.parametrize(("graph", "met"), [(0.0, "reached"), (0.5, "not reached")])
def test_the_goal_is_judged_by_the_average(graph, met):
    told = organs.Organs().table(result(graph, 0.4))
    assert f", {met}." in told
    assert "organ grew for two in 1 of 1 seeds (novelty 3.00 to 3.00)" in told
    assert organs.forgotten([[2.0, 5.0], [2.4, 3.0]]) == pytest.approx(0.4)


def test_a_penalty_holds_what_was_important():
    model = nn.Linear(2, 1, bias=False)
    kept = [({"weight": torch.tensor([[3.0, 0.0]])}, {"weight": model.weight.detach().clone()})]
    held = organs._held(model, kept, 4.0)
    with torch.no_grad():
        model.weight += torch.tensor([[0.5, 9.0]])
    assert held().item() == pytest.approx(4 / 2 * 3 * 0.25)


def test_a_low_rank_change_begins_at_nothing():
    weight = torch.randn(2, 5, 4)
    change = LowRank(weight, 2)
    assert torch.equal(change(weight), weight)
    with torch.no_grad():
        change.b.normal_()
    assert torch.linalg.matrix_rank(change(weight) - weight).tolist() == [2, 2]
