"""Sequences are read alike in every form that people hold them in; what no model can read is refused in a sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from inn.sklearn.sequences import as_numbers, is_table, of_sequences, of_table
from inn.system.errors import InputError

RNG = np.random.default_rng(0)
EQUAL = RNG.normal(size=(3, 5, 2))


def frame(array: np.ndarray, columns: str = "ab", start: str = "2024-01-01") -> pd.DataFrame:
    return pd.DataFrame(array, pd.date_range(start, periods=len(array)), list(columns))


def test_forms_of_the_same_sequences():
    keys = pd.MultiIndex.from_product([["x", "y", "z"], range(5)])
    forms = [
        EQUAL,
        list(EQUAL),
        tuple(x.tolist() for x in EQUAL),
        [np.ma.array(x) for x in EQUAL],
        [frame(x) for x in EQUAL],
        pd.DataFrame(EQUAL.reshape(15, 2), keys, ["a", "b"]),
        EQUAL.astype(object),
    ]
    for form in forms:
        assert not is_table(form)
        found = of_sequences(form)
        assert found.values.dtype == np.float32
        assert (found.values == EQUAL.reshape(15, 2).astype(np.float32)).all()
        assert found.starts.tolist() == [0, 5, 10, 15]
        assert found.names == (("a", "b") if isinstance(form, pd.DataFrame) or hasattr(form[0], "columns") else None)
    for form in (EQUAL.transpose(0, 2, 1), [x.T for x in EQUAL]):
        assert (of_sequences(form, channels_first=True).values == of_sequences(EQUAL).values).all()


def test_one_channel():
    rows = EQUAL[:, :, 0]
    for form in (list(rows), [pd.Series(row) for row in rows], rows[:, :, None]):
        assert (of_sequences(form).values == of_table(rows).values).all()
    for table in (rows, rows.tolist(), pd.DataFrame(rows), rows.astype(object), [], [1.0, 2.0]):
        assert is_table(table)


def test_unequal_lengths():
    ragged = np.empty(2, object)
    ragged[:] = [np.zeros((2, 1)), np.ones((3, 1))]
    for form in (ragged, list(ragged), [[0, 0], [1, 1, 1]]):
        assert not is_table(form)
        assert of_sequences(form).starts.tolist() == [0, 2, 5]


def test_missing_values():
    given = [[1.0, None, 3.0], np.ma.array([1, 2], mask=[True, False]), pd.Series([1, None], dtype="Int64")]
    found = of_sequences(given).values[:, 0]
    assert np.isnan(found).tolist() == [False, True, False, True, False, False, True]


@pytest.mark.parametrize(
    "given, sentence",
    [
        ([np.zeros((3, 2)), np.zeros((3, 4))], "sequence 1 has 4 channels and sequence 0 has 2; give all the same"),
        ([np.zeros((3, 2)), np.zeros((0, 2))], "sequence 1 is empty; leave it out"),
        ([np.zeros((3, 0))], "sequence 0 has no channels"),
        ([np.zeros((3, 2, 2))], "sequence 0 is an array of 3 dimensions"),
        ([[1.0, "a"], [1.0]], "sequence 0 holds 'a', which is no number"),
        ([np.array(["a", "b"])], "sequence 0 holds 'a', which is no number"),
        ([[1.0, {}], [1.0]], "sequence 0 holds {}, which is no number"),
        ([[[1.0], [1.0, 2.0]], [1.0]], "sequence 0 has rows of unequal lengths"),
        ([np.zeros(3), np.array([1.0, np.inf])], "the value of sequence 1 at step 1, channel 0, is infinite; clip it"),
        ([np.array([1e300])], "channel 0, is too large for float32"),
        ([np.zeros(3), np.full(2, np.nan)], "all values of sequence 1 are missing; leave it out"),
        ([np.array([1j])], "sequence 0 holds complex numbers"),
        ([torch.zeros(3, dtype=torch.bfloat16)], "sequence 0 is no array that NumPy can read"),
        ([np.array(["2024-01-01"], "M8[D]")], "sequence 0 holds dates"),
        (np.zeros((0, 3, 2)), "there are no sequences"),
        ([frame(EQUAL[0]), frame(EQUAL[1], "ba")], r"sequence 1 has the columns \[b, a\] and sequence 0 \[a, b\]"),
        ([frame(EQUAL[0]), EQUAL[1]], "sequence 1 has the columns none and sequence 0"),
        ([frame(EQUAL[0], "aa")], "sequence 0 has two columns of one name"),
        ([frame(EQUAL[0])[::-1]], "the index of sequence 0 does not rise"),
    ],
)
def test_refusals(given, sentence):
    with pytest.raises(InputError, match=sentence) as found:
        of_sequences(given)
    assert "\n" not in str(found.value)


def test_numbers_keep_their_precision():
    assert as_numbers([2**24 + 1], "x")[0] == 2**24 + 1
