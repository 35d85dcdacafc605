"""Edges from files: a list or an adjacency matrix, as CSV or npz."""

from __future__ import annotations

import csv
import zipfile
import zlib
from pathlib import Path

import numpy as np

from inn.system.errors import InputError


def read_edges(path: str | Path) -> tuple[list[list[int]], list[str]]:
    """The edges of a file as `[to, from]`, `[to, from, sign]` where any sign is -1, or `[to, from, sign, lag]`; and the
    class of each, if named.

    A CSV holds a line `to,from[,sign][,lag]` per edge, under a header or without one (a lag alone needs one), or an
    adjacency matrix: as many rows as columns, more than three, row i the neurons that neuron i hears, an entry's sign
    the edge's. Under a header a column `class` names the class of each edge. An npz holds `edges` `[E, 2 to 4]`,
    perhaps with `classes` `[E]`, or `adjacency` `[N, N]`, or is a sparse matrix as SciPy writes it.

    Raises `InputError` for a file that is not there or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no topology file '{path}'")
    try:
        table, classes = _npz(path) if path.suffix == ".npz" else _csv(path)
    except (ValueError, OSError, KeyError, EOFError, csv.Error, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"topology file '{path}' cannot be read as edges: {error}") from None
    if table.size == 0:
        raise InputError(f"topology file '{path}' holds no edges; give one a line, as to,from")
    if not np.isfinite(table).all():
        raise InputError(f"topology file '{path}' must hold finite numbers; mend it")
    whole = table.astype(np.int64)
    if table.ndim != 2 or not 2 <= table.shape[1] <= 4:
        raise InputError(f"topology file '{path}' must hold [to, from], with sign and lag if need be, per edge")
    if (whole != table).any():
        raise InputError(f"topology file '{path}' must number neurons by whole numbers")
    return whole.tolist(), classes


def _csv(path: Path) -> tuple[np.ndarray, list[str]]:
    rows = [row for row in csv.reader(path.read_text(encoding="utf-8-sig").splitlines()) if row]
    listed, classes = bool(rows) and not _number(rows[0][0]), []
    if listed:
        names = [name.strip().lower() for name in rows[0]]
        further = names[2:]
        if names[:2] != ["to", "from"] or not {*further} <= {"sign", "lag", "class"} or len({*names}) != len(names):
            raise ValueError(
                f"its header is {','.join(rows[0])}, not to,from and after them, if at all, sign, lag and class"
            )
        rows = rows[1:]
        if "class" in names:
            classes, rows = _column(rows, names.index("class"), len(names))
        if "lag" in names:  # after the sign, which is 1 where none is named, and of a class any
            signs = [["0" if classes else "1"]] * len(rows)
            rest = [name for name in names if name != "class"]
            lags, rows = _column(rows, rest.index("lag"), len(rest))
            rows = [[*row[:2], *(row[2:] or sign), lag] for row, sign, lag in zip(rows, signs, lags)]
    table = np.array([[float(cell) for cell in row] for row in rows])
    if not listed and table.ndim == 2 and table.shape[0] == table.shape[1] > 3:
        return _listed(table), []
    return table, classes


def _column(rows: list[list[str]], column: int, width: int) -> tuple[list[str], list[list[str]]]:
    """The cells of a column, and the rows without it."""
    for number, row in enumerate(rows, 2):
        if len(row) != width:
            raise ValueError(f"line {number} has {len(row)} cells under {width} headings")
    return [row[column].strip() for row in rows], [row[:column] + row[column + 1 :] for row in rows]


def _npz(path: Path) -> tuple[np.ndarray, list[str]]:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as arrays:
        if "edges" in arrays:
            classes = arrays["classes"].astype(str).tolist() if "classes" in arrays else []
            return np.vstack([arrays["edges"], arrays["edges"][:0]]).astype(float), classes
        if "adjacency" in arrays:
            return _listed(arrays["adjacency"]), []
        if not {"indices", "indptr", "shape"} <= set(arrays):
            raise ValueError(f"it holds {', '.join(arrays)}, not 'edges' or 'adjacency'")
    from scipy.sparse import load_npz

    return _listed(load_npz(path).toarray()), []


def _listed(adjacency: np.ndarray) -> np.ndarray:
    """The edges of an adjacency matrix, with signs where any is negative."""
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
        raise ValueError(f"an adjacency matrix is square, not {list(adjacency.shape)}")
    if not np.isfinite(adjacency).all():
        raise ValueError("an adjacency matrix holds finite numbers, 0 where there is no edge")
    to, source = np.nonzero(adjacency)
    signs = np.sign(adjacency[to, source].astype(float))
    columns = [to, source] + ([signs] if (signs < 0).any() else [])
    return np.stack(columns, 1).astype(float)


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
