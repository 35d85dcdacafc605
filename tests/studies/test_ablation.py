"""Table 3 from a result made by hand."""

from __future__ import annotations

import pytest

from inn_studies.ablation import OWN_ROWS, PAPER_ROWS, Ablation, paired, settings, sizes
from inn_studies.paper import TABLE_3
from inn_studies.rows import jobs


def row(label: str, valid: list[float], diverged: int = 0) -> dict:
    return {
        "label": label, "parameters": 1234, "training_flops_per_symbol": 3e6, "lr": 0.003, "valid_bits": valid,
        "train_bits": [2.0], "diverged": diverged, "symbols": 1000,
    }  # fmt: skip


def result(**changed: dict) -> dict:
    rows = {
        "full": row("full", [2.0, 2.2]),
        "mamba-stack": row("mamba-stack", [2.1, 2.2]),
        "no communication": row("no communication", [2.2, 2.4]),
        "static communication": row("static communication", [2.02, 2.22]),
        "bus": row("bus", [1.9, 2.1]),
    }
    return {"rows": [*(rows | changed).values()], "floors": {"bigram": 3.4}, "symbols": 1000}


def outcomes(result: dict) -> dict[str, str]:
    return {v.claim: v.outcome for v in Ablation().verdicts(result)}


def test_the_table_pairs_seeds():
    lines = Ablation().table(result()).splitlines()
    assert lines[0].startswith("1,000 symbols each; *behind full* is paired")
    assert lines[4] == "| full | 1,234 | 3.00 M | 0.003 | 2.100 ± 0.141 | – | 2.000 | 0 |"
    assert lines[5] == "| mamba-stack | 1,234 | 3.00 M | 0.003 | 2.150 ± 0.071 | 0.050 ± 0.071 | 2.000 | 0 |"
    assert lines[6] == "| no communication | 1,234 | 3.00 M | 0.003 | 2.300 ± 0.141 | 0.200 ± 0.000 | 2.000 | 0 |"


def test_verdicts_compare_the_distance_to_full():
    assert outcomes(result()) == {
        "full": "reproduced",  # the bus, which is not the paper's, may be ahead
        "mamba-stack": "artefact",
        "no communication": "reproduced",  # 0.2 of the paper's 0.293
        "static communication": "not reproduced",  # 0.02 of the paper's 0.38
    }
    ahead = outcomes(result(**{"no communication": row("no communication", [1.9, 2.1])}))
    assert (ahead["full"], ahead["no communication"]) == ("not reproduced", "not reproduced")
    assert outcomes(result(**{"mamba-stack": row("mamba-stack", [3.4, 3.5])}))["mamba-stack"] == "reproduced"
    verdict = Ablation().verdicts(result())[2]
    assert (verdict.paper, verdict.ours) == ("1.998 BPC (Table 3)", "2.300 ± 0.141 BPC")
    assert verdict.because == "0.200 ± 0.000 BPC behind the full graph on held-out text, in the paper 0.293"


def test_what_diverged_is_not_paired():
    one = result(**{"no communication": row("no communication", [2.2], diverged=1)})
    assert outcomes(one)["no communication"] == "not measured"
    assert paired(one["rows"][2], one["rows"][0]) == []
    assert "| no communication | 1,234 | 3.00 M | 0.003 | 2.200 | – | 2.000 | 1 |" in Ablation().table(one)
    none = result(**{"mamba-stack": row("mamba-stack", [], diverged=2)})
    assert Ablation().verdicts(none)[1].because == "every run diverged"


def test_the_figure_shows_what_can_be_paired():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert Ablation().draw(result(bus=row("bus", [1.0], diverged=1)), figure)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [*list(PAPER_ROWS)[1:]]


def test_the_rows_differ_and_have_the_papers():
    assert set(PAPER_ROWS) == set(TABLE_3)
    for size in sizes().values():
        labels = [*PAPER_ROWS, *OWN_ROWS]
        found = {
            jobs(size, label, settings(size, label), [1e-3], [0])[0].folder().rsplit("-", 1)[1] for label in labels
        }
        # smoke has no widths of its own
        assert len(found) == len(labels) - (size.recipe == "study-smoke")
