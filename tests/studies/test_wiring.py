"""The study of learned wiring: rows of equal size, and what it says of results made by hand."""

import pytest

from inn.config.settings import resolve
from inn.models.build import parameters_of
from inn_studies import open_study
from inn_studies.wiring import ASKED, GRADIENT, RANDOM, said, wirings


def test_rows_are_of_equal_size():
    rows = wirings(14, 25, 32, every=5)
    of = {label: [f"--{name}={value}" for name, value in rows[label].items()] for label in ASKED}
    sizes = [parameters_of(resolve("text8-last", of[label]).config.model) for label in ASKED]
    assert max(sizes) <= 1.03 * min(sizes)


def row(label, bits, **more):
    return {"label": label, "test_bits": bits, **more}


@pytest.mark.parametrize(
    ("ours", "told"),
    [
        ([2.0, 2.01, 2.02], "needs 0.290 bits less than 'random edges' (outside both intervals)"),
        ([2.28, 2.30, 2.31], "needs 0.003 bits less than 'random edges' (within chance)"),
        ([2.5, 2.51, 2.52], "needs 0.210 bits more than 'random edges' (outside both intervals)"),
        ([2.2], "(one seed cannot tell)"),
        ([], "was not measured"),
    ],
)
def test_learned_edges_are_held_to_random_ones(ours, told):
    rows = [row(label, [2.29, 2.30, 2.31]) for label in ASKED if label != GRADIENT]
    assert told in said([*rows, row(GRADIENT, ours)])


def test_the_table_has_every_row():
    found = {"density": 0.25, "moved": 0.5}
    rows = [
        row(label, [2.0], valid_bits=[2.1], parameters=1000, lr=0.01, edges=[found], symbols=5000, data={"name": "x"})
        for label in ASKED
    ]
    table = open_study("wiring").table({"rows": rows})
    assert all(f"| {label} | 1,000 | 0.01 | 2.100 | 2.000 | 0.25 | 50% |" in table for label in (*ASKED, RANDOM))
