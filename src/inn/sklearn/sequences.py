"""Sequences in the forms that people hold them in, as one array of all their steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inn.system.errors import InputError

FORMS = "give a list of arrays [T, F] or [T], an array [n, T, F] or [n, T], or a list of DataFrames of channels"


@dataclass(frozen=True)
class Sequences:
    """Sequences laid one after another.

    Attributes:
        values: `[S, F]` float32; NaN is a missing value.
        starts: `[n + 1]` int64: sequence i is `starts[i]:starts[i + 1]`.
        names: of the channels, where they were columns; else None.
    """

    values: np.ndarray
    starts: np.ndarray
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def channels(self) -> int:
        return self.values.shape[1]

    @property
    def ends(self) -> np.ndarray:
        """The last step of each sequence, `[n]`."""
        return self.starts[1:] - 1


def is_table(X: Any) -> bool:
    """Whether X is what scikit-learn takes for a table `[n, T]`: neither a list of sequences nor an array `[n, T, F]`.

    A list of equally long lists of numbers is a table, as it is there.
    """
    if _is_frame(X):
        return getattr(X.index, "nlevels", 1) == 1
    if isinstance(X, list | tuple):
        return not X or all(_is_scalar(x) for x in X) or _is_rectangle(X)
    dtype, ndim = getattr(X, "dtype", None), getattr(X, "ndim", None)
    return ndim != 3 and not (ndim == 1 and dtype == np.dtype(object) and len(X) and not _is_scalar(X[0]))


def of_table(table: np.ndarray) -> Sequences:
    """The rows of `[n, T]` as sequences of one channel."""
    starts = np.arange(len(table) + 1, dtype=np.int64) * table.shape[1]
    return _checked(table.reshape(-1, 1), starts, None)


def of_sequences(X: Any, channels_first: bool = False) -> Sequences:
    """Sequences of a list of arrays, DataFrames or Series, of an array `[n, T, F]`, or of a DataFrame with an index of
    two levels (sequence, time).

    `channels_first`: arrays are `[F, T]`, and of all sequences `[n, F, T]`.

    Raises `InputError` for what no model can read.

    >>> of_sequences([np.zeros((3, 2)), np.ones((1, 2))]).starts.tolist()
    [0, 3, 4]
    >>> of_sequences([[1.0, 2.0], ["a"]])
    Traceback (most recent call last):
    inn.system.errors.InputError: sequence 1 holds 'a', which is no number; turn text into numbers, or leave it out
    """
    if _is_frame(X):
        X = [X.loc[key] for key in X.index.get_level_values(0).unique()]
    if not len(X):
        raise InputError(f"there are no sequences; {FORMS}")
    first_names, arrays = None, []
    for i, given in enumerate(X):
        names = columns_of(given, f"sequence {i}")
        if i == 0:
            first_names = names
        elif names != first_names:
            raise InputError(
                f"sequence {i} has the columns {_listed(names)} and sequence 0 {_listed(first_names)}; "
                "give every sequence the same columns, in one order"
            )
        array = as_steps(given, f"sequence {i}", channels_first)
        if array.shape[1] != (arrays or [array])[0].shape[1]:
            raise InputError(
                f"sequence {i} has {array.shape[1]} channels and sequence 0 has {arrays[0].shape[1]}; "
                "give all the same, NaN where a value is missing"
            )
        arrays.append(array)
    starts = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
    return _checked(np.concatenate(arrays), starts, first_names)


def first_of(X: Any) -> Any:
    """The first sequence of several, as it was given, in whose columns scikit-learn finds names."""
    return X if _is_frame(X) else X[0] if _is_frame(X[0]) else np.empty((0, 1))


def as_steps(given: Any, what: str, channels_first: bool = False) -> np.ndarray:
    """One sequence as numbers `[T, F]`; raises `InputError` where it has none, or is none.

    Args:
        what: what it is called in the error.
    """
    if _is_frame(given) or _is_series(given):
        index = given.index
        if not index.is_monotonic_increasing or index.has_duplicates:
            raise InputError(f"the index of {what} does not rise from row to row; sort it by time, each time once")
    array = as_numbers(given, what)
    if array.ndim == 1:
        array = array[:, None]
    elif array.ndim == 2 and channels_first and not _is_frame(given):
        array = array.T
    if array.ndim != 2:
        raise InputError(f"{what} is an array of {array.ndim} dimensions; {FORMS}")
    if not len(array):
        raise InputError(f"{what} is empty; leave it out")
    if not array.shape[1]:
        raise InputError(f"{what} has no channels; leave it out")
    return array


def as_numbers(given: Any, what: str) -> np.ndarray:
    """Numbers in float64, NaN where one is missing; raises `InputError` for anything else."""
    if isinstance(given, np.ma.MaskedArray):
        given = np.ma.filled(given.astype(np.float64), np.nan)
    given = given.detach() if hasattr(given, "detach") else given  # a tensor that is part of a graph of gradients
    try:
        array = np.asarray(given)
    except (TypeError, RuntimeError) as error:  # a tensor of bfloat16, sparse, or on an accelerator
        raise InputError(f"{what} is no array that NumPy can read ({error}); turn it into one") from None
    except ValueError:  # rows of unequal lengths
        raise InputError(f"{what} has rows of unequal lengths; give every step the same channels") from None
    if array.dtype.kind == "c":
        raise InputError(f"{what} holds complex numbers; give real and imaginary parts as two channels")
    if array.dtype.kind in "mM":
        raise InputError(f"{what} holds dates or durations; make them the index, or turn them into numbers")
    try:
        if array.dtype.kind in "US":
            raise ValueError
        if hasattr(given, "to_numpy") and array.dtype == object:  # of pandas: its NA is a missing value
            return given.to_numpy(dtype=np.float64, na_value=np.nan)
        return array.astype(np.float64)
    except (TypeError, ValueError):
        held = array.ravel().tolist()
        bad = next((x for x in held if not _is_number(x)), held[0])
        raise InputError(f"{what} holds {bad!r}, which is no number; turn text into numbers, or leave it out") from None


def columns_of(given: Any, what: str) -> tuple[str, ...] | None:
    """The names of a DataFrame's columns; None where they are no text, or it is an array."""
    if not _is_frame(given):
        return None
    names = tuple(given.columns)
    if not all(isinstance(name, str) for name in names):
        return None
    if len(set(names)) < len(names):
        raise InputError(f"{what} has two columns of one name; rename one of them")
    return names


def single(values: np.ndarray, where: Any) -> np.ndarray:
    """Numbers in float32; raises `InputError` for infinite ones; `where` says of an index which one it is."""
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if np.isinf(found).any():
        at = tuple(int(i) for i in np.argwhere(np.isinf(found))[0])
        how = "is infinite" if np.isinf(values[at]) else "is too large for float32"
        raise InputError(f"{where(*at)} {how}; clip it, or give NaN where a value is missing")
    return found


def _checked(values: np.ndarray, starts: np.ndarray, names: tuple[str, ...] | None) -> Sequences:
    def where(step: int, channel: int) -> str:
        i = int(np.searchsorted(starts, step, "right")) - 1
        return f"the value of sequence {i} at step {step - int(starts[i])}, channel {channel},"

    found = single(values, where)
    missing = np.logical_and.reduceat(np.isnan(found).all(1), starts[:-1])
    if missing.any():
        raise InputError(f"all values of sequence {int(missing.argmax())} are missing; leave it out")
    return Sequences(found, starts, names)


def _is_frame(given: Any) -> bool:
    return hasattr(given, "columns") and hasattr(given, "index") and hasattr(given, "to_numpy")


def _is_series(given: Any) -> bool:
    return hasattr(given, "index") and hasattr(given, "to_numpy") and not hasattr(given, "columns")


def _is_scalar(x: Any) -> bool:
    return isinstance(x, str | bytes) or np.ndim(x) == 0 if not isinstance(x, list | tuple) else False


def _is_number(x: Any) -> bool:
    try:
        float(x)
    except (TypeError, ValueError):
        return False
    return True


def _is_rectangle(X: Sequence[Any]) -> bool:
    plain = all(isinstance(x, list | tuple) and all(map(_is_scalar, x)) for x in X)
    return plain and len({len(x) for x in X}) == 1


def _listed(names: Iterable[str] | None) -> str:
    return "none" if names is None else "[" + ", ".join(names) + "]"
