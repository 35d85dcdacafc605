"""Tables 4 and 5 from results made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inn.models.build import build_model
from inn_studies.comparison import MODELS, judged
from inn_studies.ptb import Ptb, PtbCharacters
from inn_studies.rows import jobs, model_settings
from inn_studies.sizes import SHALLOW
from inn_studies.wikitext2 import WikiText2

PPL = {
    "lstm": [160.0, 162.0], "transformer-paper": [300.0], "transformer": [150.0], "mamba-stack": [140.0],
    "inn": [145.0], "inn-paper-fixed": [200.0],
}  # fmt: skip


def result(**changed: list[float]) -> dict:
    rows = [
        {
            "label": label, "parameters": 1000, "training_flops_per_symbol": 2e6, "lr": 0.003, "valid_ppl": ppl,
            "test_ppl": [p - 5 for p in ppl], "symbols": 5000,
            "config": {"data": {"corpus": "ptb", "vocabulary": "words"}},
        }
        for label, ppl in {**PPL, **changed}.items()
    ]  # fmt: skip
    return {"rows": rows, "floors": {"unigram": 688.0}}


def test_the_table_is_ordered_by_validation():
    lines = Ptb().table(result()).splitlines()
    assert lines[0] == "ptb, words; 5,000 symbols trained on."
    assert [line.split(" | ")[0].strip("| ") for line in lines[4:]] == [
        "mamba-stack", "inn", "transformer", "lstm", "inn-paper-fixed", "transformer-paper", "unigram",
    ]  # fmt: skip
    assert lines[7] == "| lstm | 1,000 | 2.00 M | 0.003 | 161.0 ± 1.4 | 156.0 ± 1.4 | 165.55 |"
    assert lines[8] == "| inn-paper-fixed | 1,000 | 2.00 M | 0.003 | 200.0 | 195.0 | 207.2 |"
    assert lines[10] == "| unigram | – | – | – | 688.0 | – | – |"


def test_verdicts_are_of_the_order():
    lstm, inn, transformer = Ptb().verdicts(result())
    assert (inn.claim, inn.paper, inn.ours, inn.outcome) == (
        "inn-paper", "207.2 PPL (Table 5)", "200.0 PPL", "reproduced",
    )  # fmt: skip
    assert inn.because == "1.242 of the LSTM's perplexity, in the paper 1.252"
    assert (lstm.ours, lstm.outcome) == ("161.0 ± 1.4 PPL", "reproduced")
    assert transformer.outcome == "reproduced"
    better = {v.claim: v.outcome for v in Ptb().verdicts(result(**{"inn-paper-fixed": [100.0]}))}
    assert better == {"lstm": "not reproduced", "inn-paper": "not reproduced", "transformer-paper": "reproduced"}


def test_a_model_that_diverged_is_not_measured():
    found = judged("lstm", {"lstm": [], "inn-paper-fixed": [3.0]}, WikiText2.paper)
    assert found == ("–", "not measured", "every run of lstm diverged")
    assert "| lstm | 1,000 | 2.00 M | 0.003 | – | – | 165.55 |" in Ptb().table(result(lstm=[]))
    assert PtbCharacters().verdicts(result()) == []


def test_the_figure_has_a_bar_per_model_that_was_measured():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert WikiText2().draw(result(lstm=[]), figure)
    assert len(figure.axes[0].patches) == len(PPL) - 1


@pytest.mark.parametrize("study", [WikiText2(), Ptb(), PtbCharacters()])
def test_every_scale_has_every_model(study):
    for size in study.sizes().values():
        for label in MODELS:
            jobs(size, label, model_settings(size, label), [1e-3], [0])[0].config()


@pytest.mark.parametrize("study, vocab", [(WikiText2(), 283), (Ptb(), 10_000), (PtbCharacters(), 50)])
def test_models_are_about_equal_in_parameters(study, vocab):
    size = study.sizes()["cpu"]
    counts = {}
    for label in MODELS:
        model = jobs(size, label, model_settings(size, label), [1e-3], [0])[0].config().model
        counts[label] = build_model(replace(model, vocab=vocab)).num_parameters
    assert max(counts.values()) < 1.06 * min(counts.values()), counts


def test_the_better_lstm_is_the_one_that_counts():
    (lstm, *_) = Ptb().verdicts(result(**{SHALLOW: [100.0]}))
    assert lstm.ours == "100.0 PPL"
    (lstm, *_) = Ptb().verdicts(result(**{SHALLOW: [1000.0]}))
    assert lstm.ours == "161.0 ± 1.4 PPL"
