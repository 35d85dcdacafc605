"""The study of identical neurons: its measures on models made by hand, its verdicts on results made by hand."""

import pytest
import torch

import inn
from inn_studies.identical import Identical, apartness
from inn_studies.sizes import published

SMALL = {"vocab": 27, "neurons": 4, "width": 16, "rounds": 2, "heads": 2, "router": "attention", "recall": []}
TOKENS = torch.randint(27, (2, 40), generator=torch.Generator().manual_seed(0))


def test_published_neurons_are_one_and_distinct_ones_are_not():
    torch.manual_seed(0)
    fields = {**published(**SMALL)}
    del fields["kind"]
    same = inn.INN(**fields).eval()
    found = apartness(same, TOKENS)
    assert found["spread"] == pytest.approx(0, abs=1e-6)
    assert found["attention"] == pytest.approx(0, abs=1e-5)
    assert found["effective"] == pytest.approx(1, abs=1e-4)
    noisy = apartness(same.train(), TOKENS)
    assert noisy["spread"] > 1e-3
    assert noisy["effective"] > 1.01
    distinct = apartness(inn.INN(**SMALL).eval(), TOKENS)
    assert distinct["spread"] > 0.1
    assert distinct["attention"] > 0.01


def test_spread_by_hand():
    """Two neurons at 0 and 2 v have mean v and are each |v| away from it: spread 1."""

    class Fixed(inn.INN):
        def forward(self, tokens, state=None, **options):
            x = torch.arange(1.0, 9.0)[None, :, None, None] * torch.tensor([0.0, 2.0])[:, None].expand(2, 16)
            assert self.graph.tape is not None
            self.graph.tape.outputs(x)
            self.graph.tape.at(0, None).add("routing", torch.tensor([0.75, 0.25]).expand(1, 8, 1, 2, 2))
            return torch.zeros(1, 8, 27), state

    found = apartness(Fixed(vocab=27, neurons=2, width=16, rounds=1, recall=[]).eval(), TOKENS[:1, :8])
    assert found["spread"] == pytest.approx(1)
    assert found["attention"] == pytest.approx(0.5)  # 0.25 away from 1/2, in units of 1/2


def moments(spread, effective, attention=0.0):
    at = {"spread": spread, "effective": effective, "attention": attention}
    return {"untrained": at, "trained": at, "trained, dropout on": {**at, "spread": 0.5}}


def result(published_moments, costs):
    config = {"model": {"neurons": 4}}
    facts = {"symbols": 1000, "data": {"name": "text8-69m"}, "config": config, "curve": [(1, 1.0)]}
    refused = {"neurons": 4, "bits": 2.1, "refused": "cannot collapse: input 'split'"}
    return {
        "rows": [
            {"label": "inn-paper-fixed", "population": published_moments, "collapsed": costs, **facts},
            {"label": "inn-distinct", "population": [moments(0.9, 3.5, 0.3)], "collapsed": [refused], **facts},
        ]
    }


COLLAPSED = {
    "neurons": 4,
    "bits": 2.5,
    "one_bits": 2.5 + 1e-7,
    "flops_ratio": 0.26,
    "graph_flops_ratio": 0.25,
    "time_ratio": 0.3,
}


def test_equal_neurons_are_an_artefact():
    shown = result([moments(0.0, 1.0), None], [COLLAPSED, None])  # the second seed diverged
    population, attention = Identical().verdicts(shown)
    assert (population.outcome, attention.outcome) == ("artefact", "artefact")
    assert population.ours == "1.00 effective neurons of 4; one neuron alone: 1.0e-07 BPC apart"
    table = Identical().table(shown)
    assert "| inn-paper-fixed | trained, dropout on | 0.5 | 0 | 1.00 of 4 |" in table
    assert "| inn-paper-fixed | 4 | 2.500 | 2.500 | +1.0e-07 | 1/3.8 | 1/4.0 | 1/3.3 |" in table
    assert "| inn-distinct | 4 | 2.100 | refused |" in table
    assert "refuses the distinct population: cannot collapse: input 'split'" in table


def test_neurons_that_differ_are_no_artefact():
    differing = {**COLLAPSED, "one_bits": 2.6}
    outcomes = [v.outcome for v in Identical().verdicts(result([moments(0.2, 2.0, 0.1)], [differing]))]
    assert outcomes == ["reproduced", "reproduced"]
    assert [v.outcome for v in Identical().verdicts(result([None], [None]))] == ["not measured", "not measured"]
