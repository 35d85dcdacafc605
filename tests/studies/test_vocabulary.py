"""The vocabulary barrier from a result made by hand."""

from __future__ import annotations

import pytest

from inn.config.settings import resolve_settings
from inn.models.build import build_model
from inn_studies.vocabulary import SIZES, SYMBOLS, VocabularyStudy


def result(**ppl: list[float]) -> dict:
    rows = {"inn words": [250.0], "lstm words": [200.0], "inn bpe 1024": [190.0, 194.0], "lstm characters": [230.0]}
    return {
        "rows": [
            {
                "label": label, "parameters": 1000, "symbols": 2000, "training_flops": 3e12, "lr": 0.003,
                "valid_ppl": values, "test_ppl": values,
            }
            for label, values in {**rows, **{name.replace("_", " "): v for name, v in ppl.items()}}.items()
        ]
    }  # fmt: skip


def test_the_table_is_ordered():
    lines = VocabularyStudy().table(result()).splitlines()
    assert lines[4] == "| inn bpe 1024 | 1,000 | 2,000 | 3.0 T | 0.003 | 192.0 ± 2.8 | 192.0 ± 2.8 |"
    assert lines[-1] == "| inn words | 1,000 | 2,000 | 3.0 T | 0.003 | 250.0 | 250.0 |"


def test_verdicts():
    behind, barrier = VocabularyStudy().verdicts(result())
    assert (behind.paper, behind.ours, behind.outcome) == (
        "1.25 times its perplexity (Table 5)", "1.25 times", "reproduced",
    )  # fmt: skip
    assert (barrier.ours, barrier.outcome) == ("0.96 times the plain LSTM's with inn bpe 1024", "artefact")
    assert barrier.because.startswith("inn bpe 1024 at 192.0 is the graph's best, lstm words at 200.0 the LSTM's")
    assert VocabularyStudy().verdicts(result(inn_bpe_1024=[201.0]))[1].outcome == "reproduced"
    assert [v.outcome for v in VocabularyStudy().verdicts(result(inn_words=[199.0]))] == ["not reproduced"] * 2
    assert [v.outcome for v in VocabularyStudy().verdicts(result(lstm_words=[]))] == ["not measured"]


def test_the_figure_has_a_bar_per_row():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert VocabularyStudy().draw(result(lstm_characters=[]), figure)
    assert len(figure.axes[0].patches) == 3


def test_every_row_says_what_it_reads():
    for size in SIZES.values():
        assert {label.split(" ", 1)[0] for label in size.models} == {"inn", "lstm"}
        assert {label.split(" ", 1)[1] for label in size.models} <= set(SYMBOLS)


def test_rows_are_about_equal_in_parameters():
    """Of the Penn Treebank: 10,000 words, 50 characters."""
    size, counts = SIZES["cpu"], {}
    for label, fields in size.models.items():
        symbols = SYMBOLS[label.split(" ", 1)[1]]
        vocab = {"words": 10_000, "characters": 50}.get(symbols["data.vocabulary"]) or symbols["data.units"]
        given = {**{f"model.{name}": value for name, value in fields.items()}, **symbols, "model.vocab": vocab}
        config = resolve_settings(None, [f"--{name}={value}" for name, value in given.items()]).model
        counts[label] = build_model(config).num_parameters
    assert max(counts.values()) < 1.08 * min(counts.values()), counts
