"""A table of one's own: a CSV file with a header row, of many series or of one long one."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inn.data.examples import Examples
from inn.data.tasks.own import Content, Own, OwnOptions, at_last_step, numbered, whole_numbers
from inn.system.errors import InputError, nearest
from inn.system.files import check_regular, plain_errors

MISSING = ("", "nan", "na", "n/a", "null", "none")
"""Cells that hold nothing, in any case."""
_ENDINGS = {".csv": ",", ".tsv": "\t"}
_OPENERS = {".xz": lzma.open, ".gz": gzip.open}


@dataclass
class CsvOptions(OwnOptions):
    """A CSV file of your own; `data.corpus: csv:PATH` is this task."""

    target: str | None = None
    """Column to tell: texts or whole numbers are classes, other numbers values; null: the next step of all columns."""
    series: str | None = None
    """Column that says which series a row belongs to; null: the file is one long series."""
    time: str | None = None
    """Column of times: the rows of a series are put in its order, and it is no input; null: they are in order."""
    columns: list[str] = field(default_factory=list)
    """Columns to read as inputs; empty: all others."""
    separator: str = ""
    """What stands between cells; empty: a comma, or in .tsv a tab."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.separator) > 1:
            raise InputError(f"separator must be one character, such as ';', not '{self.separator}'")


class Csv(Own):
    """A CSV file of your own: series to classify, values to tell, or columns to forecast."""

    Options = CsvOptions

    def read(self) -> Content:
        options, table = self.options, _Table.read(Path(self.options.path), self.options.separator)
        for what in ("series", "time", "target"):
            table.check(what, getattr(options, what))
        for name in options.columns:
            table.check("columns", name)
        roles = [name for name in (options.series, options.time, options.target) if name]
        if len(set(roles)) < len(roles):
            raise InputError("series, time and target must be different columns; give each of them once")
        order, starts = self._order(table)
        target = np.array(table.cells(options.target), object)[order].tolist() if options.target else None
        lines = table.lines[order]
        told = None if target is None else self._target(target, starts, lines, table)
        kept = options.target if told and told.values and not told.steady and options.horizon else None
        names = [n for n in options.columns or table.names if n not in roles or n == kept]
        if not names:
            raise InputError(f"{table.path} has no column to read as input; known: {', '.join(table.names)}")
        inputs = np.stack([table.numbers(name)[order] for name in names], 1).astype(np.float32)
        empty = np.isnan(inputs).all(0)
        if empty.any():
            raise InputError(f"{table.path}: column '{names[int(empty.argmax())]}' has no value; leave it out")
        if told is None:
            return Content(Examples(inputs, inputs, starts), names, [], [], forecast=True)
        return Content(
            Examples(inputs, told.examples.targets, starts), names, told.classes, told.values, steady=told.steady
        )

    def _order(self, table: _Table) -> tuple[np.ndarray, np.ndarray]:
        """The rows in the order of series, each as it begins, and of time; and where each series starts."""
        rows = np.arange(len(table.rows))
        keys: list[np.ndarray] = [rows]
        if self.options.time:
            cells = table.filled(self.options.time)
            try:
                times = _floats(cells)
            except ValueError:
                times = np.unique(cells, return_inverse=True)[1]  # ISO dates are in order as texts, too
            keys.append(times)
        if self.options.series:
            first: dict[str, int] = {}
            keys.append(np.array([first.setdefault(c, len(first)) for c in table.filled(self.options.series)]))
            order = np.lexsort(keys)
            return order, np.cumsum([0, *np.bincount(keys[-1])], dtype=np.int64)
        return np.lexsort(keys), np.array([0, len(rows)])

    def _target(self, cells: list[str], starts: np.ndarray, lines: np.ndarray, table: _Table) -> Content:
        """The targets: one for each series where its rows agree, else one for each step."""
        name, predict = self.options.target, self.options.predict
        try:
            values, classes = table.numbers_of(name, cells, lines), whole_numbers(cells)
        except InputError:
            if predict == "values" or _mostly_numbers(cells):
                raise
            values, classes = None, True
        classes = {"auto": classes, "classes": True, "values": False}[predict]
        names = []
        if classes or values is None:
            plain = [str(int(c)) if c else c for c in cells] if whole_numbers(cells) else cells
            names, targets = numbered(plain)
            there = targets >= 0
        else:
            targets, there = values.astype(np.float32)[:, None], ~np.isnan(values)
        if not there.any():
            raise InputError(f"{table.path}: column '{name}' has no value; give the series a target")
        last = self._one_each(targets, there, starts) if len(starts) > 2 else None
        if last is not None:
            at = starts[:-1][~last[1]]
            if len(at):
                raise InputError(
                    f"{table.path}: the series at row {lines[at[0]]} has nothing in column '{name}'; "
                    "fill it in, or remove its rows"
                )
            targets = at_last_step(last[0], starts)
        steady = last is not None
        return Content(Examples(targets, targets, starts), [], names, [] if names else [str(name)], steady=steady)

    def _one_each(
        self, targets: np.ndarray, there: np.ndarray, starts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The one target of each series and whether it has one; None where a series has two."""
        flat = targets.reshape(len(targets), -1)[:, 0].astype(np.float64)
        most = np.maximum.reduceat(np.where(there, flat, -np.inf), starts[:-1])
        least = np.minimum.reduceat(np.where(there, flat, np.inf), starts[:-1])
        found = np.isfinite(most)
        if (most != least)[found].any():
            return None
        last = np.maximum.reduceat(np.where(there, np.arange(len(flat)), -1), starts[:-1])
        return targets[last], found


@dataclass(frozen=True)
class _Table:
    """A table as it was read: cells without white space at their ends, those that are missing empty.

    Attributes:
        path: the file, for errors.
        names: its columns.
        rows: the cells of each row.
        lines: the line of the file that each row ends in, `[S]`.
    """

    path: Path
    names: list[str]
    rows: list[list[str]]
    lines: np.ndarray

    @classmethod
    def read(cls, path: Path, separator: str) -> _Table:
        check_regular(path)
        packed = path.suffix.lower() if path.suffix.lower() in _OPENERS else ""
        ending = path.with_suffix("").suffix.lower() if packed else path.suffix.lower()
        if ending not in _ENDINGS:
            raise InputError(f"{path} must end in .csv or .tsv, or these with .xz or .gz; rename it")
        separator = separator or _ENDINGS[ending]
        names: list[str] = []
        rows, lines = [], []
        for line, cells in _lines(path, packed, separator):
            cells = [cell.strip() for cell in cells]
            if not names:
                names = _checked(path, cells, separator)
            elif len(cells) != len(names):
                raise InputError(
                    f"{path}, row {line}: {len(cells)} cells, and the header has {len(names)}; give each row as many"
                )
            else:
                rows.append(["" if cell.lower() in MISSING else cell for cell in cells])
                lines.append(line)
        if not rows:
            raise InputError(f"{path} {'has a header and no rows' if names else 'is empty'}; write rows under a header")
        return cls(path, names, rows, np.array(lines))

    def check(self, option: str, name: str | None) -> None:
        """Raise `InputError` for a column that is not there."""
        if name is not None and name not in self.names:
            raise InputError(f"{option}: {self.path} has no column '{name}'{nearest(name, self.names)}")

    def cells(self, name: str) -> list[str]:
        """A column as it stands in the file."""
        column = self.names.index(name)
        return [row[column] for row in self.rows]

    def filled(self, name: str) -> list[str]:
        """A column that must have something in every row."""
        cells = self.cells(name)
        if "" in cells:
            row = self.lines[cells.index("")]
            raise InputError(f"{self.path}, row {row}: column '{name}' is empty; fill it in, or remove the row")
        return cells

    def numbers(self, name: str) -> np.ndarray:
        """A column as numbers, `[S]` float64, in the order of the file."""
        return self.numbers_of(name, self.cells(name), self.lines)

    def numbers_of(self, name: str | None, cells: list[str], lines: np.ndarray) -> np.ndarray:
        """Cells as numbers, NaN where they are missing; raises `InputError` for the first that is none or infinite."""
        try:
            numbers = _floats([cell or "nan" for cell in cells])
        except ValueError:
            at = next(i for i, cell in enumerate(cells) if not _is_number(cell or "nan"))
            raise InputError(
                f"{self.path}, row {lines[at]}: column '{name}' has '{cells[at]}', which is no number; mend it, leave "
                "it empty, or choose the inputs by data.task.columns"
            ) from None
        if (large := np.abs(numbers) > np.finfo(np.float32).max).any():
            at = int(large.argmax())
            raise InputError(
                f"{self.path}, row {lines[at]}: column '{name}' has '{cells[at]}', which is infinite; mend it, or "
                "leave it empty"
            )
        return numbers


def _lines(path: Path, packed: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold something, and the line each ends in."""
    opener = _OPENERS.get(packed, open)
    try:
        with plain_errors(path), opener(path, "rb") as raw:
            reader = csv.reader(io.TextIOWrapper(raw, "utf-8-sig", newline=""), delimiter=separator, strict=True)
            for cells in reader:
                if len(cells) > 1 or any(map(str.strip, cells)):
                    yield reader.line_num, cells
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start} of a block); save it as UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table: {error}; mend the row, or save it again") from error
    except (lzma.LZMAError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{path} cannot be unpacked: {error}; pack it again") from error


def _checked(path: Path, names: list[str], separator: str) -> list[str]:
    if "" in names:
        raise InputError(f"{path}: column {names.index('') + 1} has no name; give each one in the first row")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{path}: two columns are called '{twice[0]}'; rename one")
    other = next((c for c in ";\t|," if c != separator and c in names[0]), None) if len(names) == 1 else None
    if other:
        raise InputError(f"{path} has one column, '{names[0]}'; set data.task.separator to {other!r}")
    if all(map(_is_number, names)):
        raise InputError(f"{path}: the first row holds numbers, {', '.join(names[:3])}; write the columns' names above")
    return names


def _floats(cells: list[str]) -> np.ndarray:
    """Cells as float64; raises `ValueError` where one is no number, which `3_1` is in Python alone."""
    if any("_" in cell for cell in cells):
        raise ValueError
    return np.array(cells, np.float64)


def _is_number(cell: str) -> bool:
    try:
        _floats([cell])
    except ValueError:
        return False
    return True


def _mostly_numbers(cells: list[str]) -> bool:
    """Whether a target is meant as numbers, though some cell is none."""
    there = [cell for cell in cells if cell]
    return sum(map(_is_number, there)) > len(there) / 2
