"""Tables 1 and 7 from a result made by hand."""

from __future__ import annotations

import pytest

from inn_studies.cost import FORMULAS, SIZES, Cost, judged, slope_of, sweeps


def points(power: float, sizes: tuple[int, ...] = (2, 4, 8, 16)) -> list[dict]:
    return [{"x": x, "seconds": 0.1 * x**power, "bytes": 1000.0 * x, "flops": 5.0 * x**power} for x in sizes]


def result() -> dict:
    rows = {
        label: {"seconds_per_symbol": time * 1e-6, "parameters": 1000, "training_flops_per_symbol": 2e6}
        for label, time in (("lstm", 2.0), ("transformer-paper", 2.6), ("inn-paper-fixed", 60.0))
    }
    return {
        "threads": 1, "batch": 4, "window": 8, "epoch": rows,
        "sweeps": {"lstm T": points(1), "transformer T": points(2), "inn N": points(1.5)},
    }  # fmt: skip


def test_the_table_has_slopes_and_times():
    lines = Cost().table(result()).splitlines()
    assert lines[4] == "| lstm | T | 2–16 | 1.00 | 1.00 | 1.00 | 1 | 1 |"
    assert lines[5] == "| transformer | T | 2–16 | 2.00 | 2.00 | 1.00 | 2 | 2 |"
    assert lines[6] == "| inn | N | 2–16 | 1.50 | 1.50 | 1.00 | 1–2 | 1 |"
    assert lines[-1] == "| inn-paper-fixed | 1,000 | 2.00 M | 60.00 µs | 30.00 | 1.5 |"


def test_verdicts():
    found = {v.claim: v for v in Cost().verdicts(result())}
    assert found["transformer: time over length"].outcome == "reproduced"
    memory = found["transformer: memory over length"]
    assert (memory.paper, memory.ours) == ("slope 2, from O(L²) (Table 1)", "slope 1.00")
    assert memory.outcome == "not reproduced"
    assert found["inn: time over neurons"].outcome == "reproduced"
    assert found["an epoch of transformer-paper"].outcome == "reproduced"
    assert found["an epoch of inn-paper"].outcome == "not reproduced"
    assert found["an epoch of inn-paper"].because == "30.00 times the LSTM's; the text beside the table says 50"
    assert judged("lstm", "D", "time", 2.5, 2.0).because.endswith("more than the formula, which leaves terms out")
    assert "does not rule" in judged("lstm", "D", "time", 1.5, 2.0).because


def test_the_slope_is_of_the_larger_half():
    flat_then_steep = [*points(0, (1, 2, 4)), *points(2, (8, 16, 32))]
    assert slope_of(flat_then_steep, "seconds") == pytest.approx(2.0)
    assert slope_of(points(1, (2, 4)), "seconds") == pytest.approx(1.0)


def test_the_figure_has_a_line_per_sweep():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert Cost().draw(result(), figure)
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 0]


def test_every_formula_is_measured():
    for size in SIZES.values():
        found = sweeps(size)
        wanted = {f"{kind} {term[0]}" for kind, costs in FORMULAS.items() for term in costs["time"][1].split()}
        assert set(found) == wanted
        for what, sweep in found.items():
            assert len({p["x"] for p in sweep}) == len(sweep) >= 2
            if what == "transformer T":  # attention over all of it
                assert all(p["length"] == p["model"]["window"] == p["x"] for p in sweep)
