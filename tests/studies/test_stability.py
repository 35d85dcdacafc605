"""The stability study's verdicts and numbers, from results made by hand."""

import pytest

from inn_studies.stability import (
    MODELS,
    PUBLISHED_EMBEDDING,
    SIZES,
    Stability,
    best,
    gradients,
    highest_good,
    nearest_floor,
)

FLOORS = {"uniform": 4.755, "unigram": 4.12, "bigram": 3.43, "trigram": 2.88}
RATES = (1e-3, 1e-2)


def row(label, bits, diverged=(0, 0)):
    start = {"first_bits": 4.7, "median_norm": 0.5, "largest_norm": 20.0, "clipped_share": 0.25}
    points = [
        {"lr": lr, "bits": [b] if b is not None else [], "diverged": d, "gradients": start if b else None}
        for lr, b, d in zip(RATES, bits, diverged, strict=True)
    ]
    return {"label": label, "points": points, "parameters": 1234, "symbols": 1000, "data": {"name": "text8-69m"}}


def result(**changed):
    """Both embeddings alike; `stack=(…)` and so on give the bits by rate."""
    bits = {"stack": (2.4, 2.3), "transposed": (3.6, 3.45), "graph": (2.5, 2.4), "distinct": (2.4, 2.35), **changed}
    rows = [row(f"{label}{end}", b) for end in ("", PUBLISHED_EMBEDDING) for label, b in zip(MODELS, bits.values())]
    return {"rows": rows, "floors": FLOORS}


def test_a_transposed_stack_at_the_bigram_floor_makes_the_claim_an_artefact():
    stack, topology = Stability().verdicts(result())
    assert stack.outcome == "artefact"
    assert stack.paper == "3.438 BPC (Table 2)"
    assert stack.ours == "fed correctly 2.300 BPC, transposed 3.450 BPC, bigram table 3.430"
    assert topology.outcome == "not reproduced"
    assert "no graph" in topology.because


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({"transposed": (3.0, 2.9)}, "not reproduced"),  # transposed, it learns more than bigrams
        ({"stack": (3.5, 3.5)}, "reproduced"),
        ({"stack": (4.0, 4.0), "graph": (4.0, 4.0)}, "not measured"),
    ],
)
def test_the_stack_verdict_follows_the_numbers(changed, outcome):
    assert Stability().verdicts(result(**changed))[0].outcome == outcome


def test_the_graph_is_more_stable_only_where_it_stands_higher_rates():
    verdict = Stability().verdicts(result(stack=(2.3, 2.9)))[1]
    assert verdict.outcome == "reproduced"
    assert "Mamba stack up to lr 0.001; published graph up to lr 0.01" in verdict.ours
    assert Stability().verdicts(result(stack=(2.3, 2.9), graph=(2.3, 2.9)))[1].outcome == "not reproduced"
    with_small_embedding_only = result(stack=(2.3, 2.9))
    with_small_embedding_only["rows"][4] = row(MODELS[0] + PUBLISHED_EMBEDDING, (2.3, 2.3))
    assert Stability().verdicts(with_small_embedding_only)[1].outcome == "not reproduced"


def test_best_and_highest_good_rate():
    assert best(row("x", (2.4, 2.3))) == (2.3, 1e-2)
    assert highest_good(row("x", (2.3, 2.39))) == 1e-2
    assert highest_good(row("x", (2.3, 2.41))) == 1e-3
    assert highest_good(row("x", (2.4, 2.3), diverged=(0, 1))) == 1e-3  # a seed that diverged
    gone = row("x", (None, None), diverged=(1, 1))
    assert best(gone)[0] == float("inf")
    assert highest_good(gone) is None


def test_nearest_floor():
    assert nearest_floor(3.5, FLOORS) == "bigram"
    assert nearest_floor(2.0, FLOORS) == "trigram"


def test_gradients_are_counted_from_the_log():
    norms = [0.5, 2.0, 1.0, 8.0]
    log = [{"event": "train", "bits": 4.0 - i, "grad_norm": n} for i, n in enumerate(norms)]
    found = gradients([*log, {"event": "validation", "bits": 3.0}], clip=1.0)
    assert found == {"first_bits": 4.0, "median_norm": 1.5, "largest_norm": 8.0, "clipped_share": 0.5}
    assert gradients([], clip=1.0) is None


def test_the_table_shows_divergence():
    shown = result()
    shown["rows"][0] = row(MODELS[0], (2.4, None), diverged=(0, 1))
    table = Stability().table(shown)
    assert "| Mamba stack | 1,234 | 2.400 | 1 diverged |" in table
    assert "| published graph | 4.7 | 0.50 | 20 | 25% | 0.01 |" in table
    assert "Mamba stack, transposed: first loss 4.7 → 4.7 bits, best result 3.450 → 3.450 BPC" in table
    assert Stability().verdicts(shown)[0].outcome == "artefact"


@pytest.mark.parametrize("scale", SIZES)
def test_every_scale_has_each_model_with_both_embeddings(scale):
    size = SIZES[scale]
    assert list(size.models) == [label + end for end in ("", PUBLISHED_EMBEDDING) for label in MODELS]
    assert size.models["published graph, N(0, 1)"]["embedding_std"] == 1.0
    assert list(size.rates) == sorted(size.rates)
