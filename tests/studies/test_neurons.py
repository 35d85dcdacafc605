"""The study of roles: its statistics on models made by hand, its verdicts on results made by hand."""

import pytest
import torch

import inn
from inn_studies.neurons import DISTINCT, PUBLISHED, UNTRAINED, Neurons, statistics_of
from inn_studies.sizes import published

SMALL = {"vocab": 27, "neurons": 4, "width": 16, "rounds": 2, "heads": 2, "router": "attention", "recall": []}
BLOCKS = torch.randint(27, (6, 30), generator=torch.Generator().manual_seed(0))


def with_hub(hub):
    """Every neuron listens to neuron `hub` alone: its key answers every query; and its memory is loud."""
    torch.manual_seed(0)
    model = inn.INN(**SMALL).eval()
    with torch.no_grad():
        for r in model.graph.rounds:
            for m in (r.router.query, r.router.key):
                m.weight.zero_()
                m.bias.zero_()
            r.router.query.bias += 10
            r.router.key.bias[hub] += 10
            r.memory.out_proj.weight[hub] *= 100
    return model


def test_a_hub_made_by_hand_is_found():
    found = statistics_of(with_hub(2), BLOCKS, warmup=10)
    assert found["symbols"] == 6 * 20
    assert found["hubs"] == [2]
    assert found["specialists"] == [0, 1, 3]
    assert [len(at["received"]) for at in found["rounds"]] == [4, 4]
    assert found["rounds"][0]["degree"] == pytest.approx(1, abs=1e-4)
    assert found["rounds"][0]["edges"] == 1
    assert found["connectivity"][0][0] == [0, 0, 1, 0]
    assert max(range(4), key=lambda n: found["loudness"][n]) == 2
    assert found["loudness_ratio"] > 10
    for name in ("spread of received attention", "spread of activity"):
        assert found["nulls"][name]["p"] < 0.05, name
    assert len(found["passage"]["activity"]) == 4
    assert len(found["passage"]["activity"][0]) == 20


def test_published_neurons_have_no_roles():
    torch.manual_seed(0)
    fields = {**published(**SMALL)}
    del fields["kind"]
    found = statistics_of(inn.INN(**fields).eval(), BLOCKS, warmup=0)
    assert found["hubs"] == found["specialists"] == []
    assert found["rounds"][1]["degree"] == pytest.approx(4, abs=1e-4)
    assert found["loudness_ratio"] == pytest.approx(1, abs=1e-4)
    assert found["nulls"]["hubs"]["p"] == 1


def model(received, activity, silent, degrees, hubs=(), specialists=()):
    null = {"observed": 0.4, "mean": 0.1, "high": 0.2, "p": 0.001}
    rounds = [
        {"activity": activity, "variance": [0.1] * len(activity), "silent": silent, "silent_relative": 0.0,
         "received": received, "degree": degree, "degree_of_mean": degree, "edges": degree}
        for degree in degrees
    ]  # fmt: skip
    return {
        "neurons": len(received),
        "symbols": 100,
        "rounds": rounds,
        "hubs": list(hubs),
        "specialists": list(specialists),
        "loudness": activity,
        "loudness_ratio": max(activity) / min(activity),
        "nulls": {"spread of received attention": null, "spread of activity": null},
        "connectivity": [[[0.5, 0.5], [0.5, 0.5]]] * len(rounds),
        "passage": {"text": ["a", " "], "activity": [[0.1, 0.2], [0.3, 0.4]]},
    }


EQUAL = model([1.0, 1.0], [0.5, 0.5], 0.6, [2.0, 2.0])
UNEQUAL = model([1.7, 0.3], [0.7, 0.35], 0.3, [1.9, 1.1], hubs=[0], specialists=[1])


def result(published_form, distinct=UNEQUAL, untrained=EQUAL):
    facts = {"symbols": 1000, "data": {"name": "text8-69m"}}
    models = {DISTINCT: distinct, UNTRAINED: untrained, PUBLISHED: published_form}
    return {"models": models, "provenance": {"inn-distinct": facts, "inn-paper-fixed": facts}}


def test_equal_published_neurons_reproduce_nothing():
    activity, sparsity, hubs, degree = Neurons().verdicts(result(EQUAL))
    assert [v.outcome for v in (activity, sparsity, hubs, degree)] == ["not reproduced"] * 4
    assert activity.ours == "published form 0.50–0.50, distinct 0.35–0.70"
    assert sparsity.ours == "published form 60%, distinct 30%, untrained 60%"
    assert hubs.ours == "published form 0 and 0 of 2; distinct 1 and 1 of 2; distinct, untrained 0 and 0 of 2"
    assert "attention is uniform" in hubs.because
    assert "(p = 0.001; untrained 0.40)" in hubs.because
    assert degree.ours == "published form 2.00 → 2.00 of 2; distinct 1.90 → 1.10 of 2"


def test_published_neurons_with_roles_would_reproduce_all():
    assert [v.outcome for v in Neurons().verdicts(result(UNEQUAL))] == ["reproduced"] * 4


def test_what_diverged_is_not_measured():
    shown = result(None)
    assert [v.outcome for v in Neurons().verdicts(shown)] == ["not measured"]
    assert "published form" not in Neurons().table(shown)


def test_table():
    table = Neurons().table(result(EQUAL))
    assert "| distinct | 1 | 0.35–0.70 | 0.1–0.1 | 30% | 0% | 0.30–1.70 | 1.90 | 1.90 | 1.90 |" in table
    assert "| distinct | 2 | 0 | 1 | 2.00 |" in table
    assert "| published form | 2 | none | none | 1.00 |" in table
    assert "| distinct | spread of activity | 0.4 | 0.1 | 0.2 | 0.001 |" in table
