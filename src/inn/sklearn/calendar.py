"""The form that a series was given in, and its time, so that forecasts come back in the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inn.system.errors import InputError


@dataclass(frozen=True)
class Kept:
    """What there is to remember of a series to give forecasts back as it was given.

    Attributes:
        dims: 1 of `[T]`, 2 of `[T, F]`.
        columns: of a DataFrame; of a Series its name, alone; None of an array.
        last: the last label of the index, None of an array.
        step: from one label to the next: an offset of pandas, a number; None where they are not evenly spaced.
    """

    dims: int
    columns: list[Any] | None = None
    last: Any = None
    step: Any = None

    def followed(self, new: Kept) -> Kept:
        """The same after more steps were read; raises `InputError` where these are not later."""
        if self.last is None or new.last is None:
            return self
        try:
            later = new.first_after(self.last)
        except TypeError:
            raise InputError(f"the index ends with {new.last!r}, which is not of the kind of {self.last!r}") from None
        if not later:
            raise InputError(f"the series ends at {new.last}, and {self.last} was read already; give what came since")
        return replace(self, last=new.last)

    def first_after(self, label: Any) -> bool:
        return bool(self.last > label)

    def series(self, values: np.ndarray, steps: np.ndarray) -> Any:
        """Forecasts `[horizon, F]` in the form of the series."""
        if self.columns is None:
            return values[:, 0] if self.dims == 1 else values
        import pandas  # here: where a DataFrame was given, it is there

        index = self.labels(steps)
        if self.dims == 1:
            return pandas.Series(values[:, 0], index, name=self.columns[0])
        return pandas.DataFrame(values, index, self.columns)

    def quantiles(self, values: np.ndarray, steps: np.ndarray, levels: np.ndarray) -> Any:
        """Quantiles `[horizon, F, Q]` in the form of the series."""
        if self.columns is None:
            return values[:, 0] if self.dims == 1 else values
        import pandas

        columns = pandas.MultiIndex.from_product([self.columns, levels.tolist()], names=["channel", "quantile"])
        return pandas.DataFrame(values.reshape(len(values), -1), self.labels(steps), columns)

    def labels(self, steps: np.ndarray) -> list[Any]:
        """The labels of the next steps; where the index is not evenly spaced, their numbers from 1."""
        if self.step is None:
            return steps.tolist()
        return [self.last + int(i) * self.step for i in steps]


def kept_of(given: Any) -> Kept:
    """What there is to remember of a series."""
    dims = 1 if np.ndim(given) == 1 else 2
    if not hasattr(given, "index") or not hasattr(given, "to_numpy"):
        return Kept(dims)
    columns = list(given.columns) if dims == 2 else [given.name]
    return Kept(dims, columns, given.index[-1], _step_of(given.index))


def _step_of(index: Any) -> Any:
    """From one label to the next; None where that is not the same throughout."""
    import pandas

    if isinstance(index, pandas.PeriodIndex):
        return 1
    if isinstance(index, pandas.DatetimeIndex):
        return index.freq or (pandas.DatetimeIndex(index, freq="infer").freq if len(index) > 2 else None)
    if len(index) > 1 and index.dtype.kind in "iufm":
        steps = np.diff(index.to_numpy())
        return steps[0].item() if index.dtype.kind != "m" and (steps == steps[0]).all() else None
    return None
