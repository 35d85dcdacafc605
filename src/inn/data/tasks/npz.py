"""Arrays of one's own: a NumPy .npz file with `X`, `y` and, for unequal lengths, `lengths`."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import PARTS
from inn.data.tasks.own import Content, Own, OwnOptions, at_last_step, numbered
from inn.system.errors import InputError, nearest
from inn.system.files import check_regular, plain_errors


@dataclass
class NpzOptions(OwnOptions):
    """A .npz file of your own; `data.corpus: npz:PATH` is this task."""

    inputs: str = "X"
    """Name of the inputs: [n, T, F], [n, T], or [S, F] laid one after another, with `lengths`. Inputs in parts are
    called X_train, X_valid, X_test, and so are y and lengths."""
    target: str | None = "y"
    """Name of the targets: [n] (one for each series), or one for each step; null: the next step is told."""


class Npz(Own):
    """A .npz file of your own: `X` [n, T, F], and `y` [n] or [n, T, ...]; texts and whole numbers are classes."""

    Options = NpzOptions

    def read(self) -> Content:
        path = Path(self.options.path)
        arrays = _arrays(path)
        name, target = self.options.inputs, self.options.target
        if target is not None and not any(k == target or k.startswith(f"{target}_") for k in arrays):
            if target != NpzOptions.target:
                raise InputError(f"target: {path} has no array '{target}'{nearest(target, arrays)}")
            target = None
        given = [part for part in PARTS if f"{name}_{part}" in arrays]
        endings = [f"_{part}" for part in given] or [""]
        if given and {"train", "test"} - set(given):
            raise InputError(f"{path} has {name}_{given[0]} alone; give {name}_train and {name}_test, or all in {name}")
        if f"{name}{endings[0]}" not in arrays:
            raise InputError(f"inputs: {path} has no array '{name}'{nearest(name, arrays)}")
        read = [_Piece.of(path, arrays, name, target, ending, self.options.predict) for ending in endings]
        if len({piece.inputs.shape[1] for piece in read}) > 1:
            raise InputError(f"{path}: {name} has other channels in one part than in another; give all the same")
        inputs = np.concatenate([piece.inputs for piece in read])
        starts = np.cumsum([0, *np.concatenate([piece.lengths for piece in read])], dtype=np.int64)
        channels = _texts(path, arrays, "channels", inputs.shape[1]) or [f"x{i}" for i in range(inputs.shape[1])]
        empty = np.isnan(inputs).all(0)
        if empty.any():
            raise InputError(f"{path}: channel '{channels[int(empty.argmax())]}' has no value; leave it out")
        parts = self._parts_of(given, [len(piece.lengths) for piece in read]) if given else None
        if target is None:
            return Content(Examples(inputs, inputs, starts), channels, [], [], forecast=True, parts=parts)
        if len({piece.steady for piece in read}) > 1:
            raise InputError(f"{path}: {target} is one for each series in one part only; give all the same")
        steady, targets = read[0].steady, np.concatenate([piece.targets for piece in read])
        classes: list[str] = []
        if targets.dtype.kind == "U":
            classes, targets = numbered(targets.tolist())
            classes = _texts(path, arrays, "classes", len(classes)) or classes
        elif targets.ndim == 1:
            targets = targets[:, None]
        if steady:
            targets = at_last_step(targets, starts)
        count = 0 if classes else targets.shape[1]
        values = [target] if count == 1 else [f"{target}{i}" for i in range(count)]
        return Content(Examples(inputs, targets, starts), channels, classes, values, steady=steady, parts=parts)

    def _parts_of(self, given: list[str], counts: list[int]) -> np.ndarray:
        parts = np.repeat([PARTS.index(part) for part in given], counts)
        if "valid" not in given:  # a share of the training part, dealt at random
            train, valid, _ = self.options.split
            chosen = np.random.default_rng(self.options.seed).permutation(counts[0])
            parts[chosen[: max(1, round(counts[0] * valid / (train + valid)))]] = 1
        return parts


@dataclass(frozen=True)
class _Piece:
    """A part: inputs `[S, F]`, lengths of sequences `[n]`, and targets `[n, ...]` if steady, else `[S, ...]`."""

    inputs: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray
    steady: bool

    @classmethod
    def of(cls, path: Path, arrays: dict, name: str, target: str | None, ending: str, predict: str) -> _Piece:
        called = f"{name}{ending}"
        x = _numbers(path, called, arrays[called])
        if not x.size:
            raise InputError(f"{path}: {called} of shape {list(x.shape)} holds nothing; give at least one series")
        lengths, there = _lengths(path, x, called, arrays.get(f"lengths{ending}"))
        laid = there is None and f"lengths{ending}" in arrays  # one after another, not side by side
        steps = x.shape[: 1 if laid else 2]
        flat = x[there] if there is not None else x.reshape(-1, *x.shape[len(steps) :])
        inputs = (flat[:, None] if flat.ndim == 1 else flat).astype(np.float32)
        if target is None:
            return cls(inputs, lengths, inputs, False)
        if f"{target}{ending}" not in arrays:
            raise InputError(f"{path} has {called} and no {target}{ending}; give both")
        y, label = arrays[f"{target}{ending}"], f"{target}{ending}"
        if y.ndim == 1 and len(y) == len(lengths):
            steady, told = True, y
        elif y.shape[: len(steps)] == steps and y.ndim <= len(steps) + 1:
            steady = False
            told = y[there] if there is not None else y.reshape(-1, *y.shape[len(steps) :])
        else:
            raise InputError(
                f"{path}: {label} is of shape {list(y.shape)}, and {called} of {list(x.shape)}; give one target for "
                f"each of the {len(lengths)} series, or one for each step"
            )
        return cls(inputs, lengths, _targets(path, label, told, predict), steady)


def _targets(path: Path, name: str, told: np.ndarray, predict: str) -> np.ndarray:
    """Targets as texts (classes; `""` where none counts), or as float32 numbers."""
    kind = told.dtype.kind
    if kind not in "USiufb":
        raise InputError(f"{path}: {name} holds {told.dtype}; give texts or numbers")
    if predict == "classes" or (predict == "auto" and kind in "USiub"):
        if told.ndim != 1:
            raise InputError(f"{path}: {name} has {told.shape[-1]} classes a step; give one, or set predict to values")
        if kind == "S":
            told = np.char.decode(told, "utf-8")
        if kind == "f" and not (told % 1 > 0).any():  # whole numbers that are kept as floats
            told, kind = np.nan_to_num(told, nan=IGNORED).astype(np.int64), "i"
        missing = told == IGNORED if kind == "i" else np.isnan(told) if kind == "f" else told == ""
        return np.where(missing, "", told.astype(str))
    return _numbers(path, name, told).astype(np.float32)


def _numbers(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iufb" or not array.ndim:
        raise InputError(f"{path}: {name} holds {array.dtype} of shape {list(array.shape)}; give arrays of numbers")
    large = np.abs(array.astype(np.float64)) > np.finfo(np.float32).max
    if large.any():
        at = np.argwhere(large)[0].tolist()
        raise InputError(f"{path}: {name}{at} is infinite; mend it, or write NaN for what is missing")
    return array


def _lengths(path: Path, x: np.ndarray, name: str, given: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The steps of each sequence, and of padded ones the mask `[n, T]` of the steps that are there."""
    if given is None:
        if x.ndim not in (2, 3):
            raise InputError(f"{path}: {name} is of shape {list(x.shape)}; give [n, T, F] or [n, T], or add lengths")
        return np.full(len(x), x.shape[1], np.int64), None
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise InputError(f"{path}: lengths must be whole numbers, one for each series, not {given.dtype}")
    if len(given) and given.min() < 1:
        raise InputError(f"{path}: lengths[{int(given.argmin())}] is {given.min()}; leave empty series out")
    if x.ndim < 3 and given.sum() == len(x):
        return given.astype(np.int64), None
    if x.ndim > 3 or x.ndim < 2 or len(given) != len(x) or (len(given) and given.max() > x.shape[1]):
        raise InputError(
            f"{path}: lengths, {len(given)} that sum to {given.sum()}, do not fit {name} of shape {list(x.shape)}; "
            "give the steps of each series"
        )
    return given.astype(np.int64), np.arange(x.shape[1]) < given[:, None]


def _texts(path: Path, arrays: dict[str, np.ndarray], name: str, count: int) -> list[str] | None:
    if name not in arrays:
        return None
    found = [str(one) for one in arrays[name].ravel().tolist()]
    if len(found) != count or len(set(found)) != count:
        raise InputError(f"{path}: {name} must be {count} different names, not {len(found)}: {', '.join(found[:5])}")
    return found


def _arrays(path: Path) -> dict[str, np.ndarray]:
    check_regular(path)
    try:
        with plain_errors(path), np.load(path, allow_pickle=False) as file:
            if isinstance(file, np.ndarray):
                raise InputError(f"{path} holds one array; save X and y by numpy.savez(path, X=..., y=...)")
            return {name: file[name] for name in file.files}
    except InputError:
        raise
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        objects = "Object arrays" in str(error)
        why = "holds objects, such as arrays of unequal lengths" if objects else "is no .npz file"
        remedy = "lay them one after another and add lengths" if objects else "write it by numpy.savez"
        raise InputError(f"{path} {why}; {remedy}") from error
