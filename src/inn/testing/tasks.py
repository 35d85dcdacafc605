"""The contract of tasks."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from inn.config.parts import option_names
from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import PARTS, Metric, Task
from inn.data.tasks.base import task as make
from inn.registry import TASKS
from inn.system.errors import InputError
from inn.testing.expect import expect, expect_equal, named

_DRAWN = 16  # sequences that are drawn to look at


def check_task(task: type[Task] | str, **options: Any) -> None:
    """Hold a task to its contract.

    What it reads and what it tells are named, once each; the same options give the same data, other random numbers
    others, and the parts differ; inputs and targets are of the types and in the range that the names say, and in each
    part there is something that counts; options that it has not are refused, and so are a seed and a number of examples
    that cannot be.

    >>> from inn.data.tasks.parity import Parity
    >>> check_task(Parity, length=12, examples=20)
    """
    with named(TASKS, task) as kind:
        what = f"task '{kind}'"
        made, again = (make(kind, **options) for _ in range(2))
        expect(isinstance(made, Task), f"{what} is no subclass of inn.Task")
        _check_names(made, what)
        parts = {name: _check_part(made, name, f"{what}, {name} part") for name in PARTS}
        for name, part in parts.items():
            expect(_same(part, _part(again, name)), f"{what}: its {name} part is another one the second time")
        if made.part("train") is None:
            _check_draw(made, again, what)
            parts = {name: made.draw(made.rng(name), _DRAWN) for name in PARTS}
        for one, other in itertools.combinations(PARTS, 2):
            expect(not _same(parts[one], parts[other]), f"{what}: its {one} and {other} parts are the same")
        optimum = made.optimal_loss(parts["test"])
        expect(optimum is None or 0 <= optimum < np.inf, f"{what}: its optimal loss {optimum} is no loss")
        expect(made.sample().counted, f"{what}: its sample has no target that counts")
        _check_options(kind, options, what)


def _check_names(task: Task, what: str) -> None:
    expect(task.metric in get_args(Metric), f"{what}: its metric '{task.metric}' is none of {get_args(Metric)}")
    for name in ("names", "channels", "classes", "values"):
        found = getattr(task, name)
        expect(all(isinstance(one, str) for one in found), f"{what}: its {name} are not all texts: {found}")
        expect_equal(len(set(found)), len(found), f"{what}: one of its {name} is there twice")
    if actors := task.actors:
        expect_equal(len(actors), len(task.names), f"{what}: its actors are not one for each of its names")
        expect(any(actors), f"{what}: none of its symbols is an actor's; leave actors out")
        wrong = [one for one in actors if one is not None and not (isinstance(one, str) and one.strip())]
        expect(not wrong, f"{what}: actors {wrong} are neither names nor None")
    if not task.signal:
        expect(task.names, f"{what}: it has no names for its symbols")
        wrong = [name for name in task.names if name.split() != [name]]
        expect(not wrong, f"{what}: names {wrong} are empty or hold white space")
        expect(not task.channels and not task.classes and not task.values, f"{what}: it reads symbols and has channels")
        return
    expect(task.channels, f"{what}: it is a signal without channels")
    expect(not task.names, f"{what}: it is a signal and has names for symbols")
    expect(not (task.classes and task.values), f"{what}: it has classes and values; a task tells one or the other")
    expect_equal(len(task.classes) == 1, False, f"{what}: there is only one class")
    numbers = not task.classes
    expect_equal(task.metric in ("rmse", "mae"), numbers, f"{what}: metric '{task.metric}' is not for what it tells")


def _part(task: Task, name: str) -> Examples:
    """The examples of a part; of an endless one, the first that are drawn."""
    found = task.part(name)
    return task.draw(task.rng(name, 0), _DRAWN) if found is None else found


def _check_part(task: Task, name: str, what: str) -> Examples:
    expect(task.part(name) is not None or name == "train", f"{what}: only a training part may be endless")
    found = _part(task, name)
    _check_examples(task, found, what)
    return found


def _check_examples(task: Task, found: Examples, what: str) -> None:
    expect(isinstance(found, Examples), f"{what}: it gives {type(found).__name__} and not Examples")
    try:
        found.check()
    except InputError as error:
        raise AssertionError(f"{what}: {error}") from error
    expect_equal(found.starts.dtype, np.int64, f"{what}: starts are not int64")
    steps = len(found.inputs)
    expect_equal((int(found.starts[0]), int(found.starts[-1])), (0, steps), f"{what}: starts are not from 0 to S")
    expect_equal(len(found.targets), steps, f"{what}: there are not as many targets as inputs")
    if found.weights is not None:
        expect_equal(found.weights.shape, (len(found),), f"{what}: weights are not [sequences]")
        expect_equal(found.weights.dtype, np.float32, f"{what}: weights are not float32")
        good = bool((np.isfinite(found.weights) & (found.weights >= 0)).all())
        expect(good, f"{what}: a weight is negative or no number")
    if task.signal:
        expect_equal(found.inputs.shape, (steps, len(task.channels)), f"{what}: inputs are not [S, channels]")
        expect_equal(found.inputs.dtype, np.float32, f"{what}: inputs are not float32")
        expect(not np.isinf(found.inputs).any(), f"{what}: an input is infinite; NaN is what is missing")
    else:
        expect_equal(found.inputs.shape, (steps,), f"{what}: inputs are not [S]")
        expect_equal(found.inputs.dtype, np.int64, f"{what}: inputs are not int64")
        _check_range(found.inputs, task.names, f"{what}: an input")
    if not task.signal or task.classes:
        expect_equal(found.targets.shape, (steps,), f"{what}: targets are not [S]")
        expect_equal(found.targets.dtype, np.int64, f"{what}: targets are not int64")
        _check_range(found.targets[found.targets != IGNORED], task.classes or task.names, f"{what}: a target")
        return
    width = len(task.values) or len(task.channels)
    expect_equal(found.targets.shape, (steps, width), f"{what}: targets are not [S, values]")
    expect_equal(found.targets.dtype, np.float32, f"{what}: targets are not float32")
    expect(not np.isinf(found.targets).any(), f"{what}: a target is infinite; NaN is what does not count")
    if not task.values:
        inside = np.setdiff1d(np.arange(steps), found.starts[1:] - 1)  # what follows the last step may not be known
        agree = np.array_equal(found.targets[inside], found.inputs[inside + 1], equal_nan=True)
        expect(agree, f"{what}: it has neither classes nor values, and targets are not the signal's next step")


def _check_range(numbers: np.ndarray, names: list[str], what: str) -> None:
    outside = numbers[(numbers < 0) | (numbers >= len(names))]
    expect(not len(outside), f"{what} is {outside[:1]}, and the {len(names)} names are numbered from 0")


def _check_draw(task: Task, again: Task, what: str) -> None:
    one = task.draw(np.random.default_rng(1), _DRAWN)
    _check_examples(task, one, f"{what}, a draw")
    expect_equal(len(one), _DRAWN, f"{what}: draw does not give as many sequences as it was asked for")
    for number in range(2):  # whatever was drawn before, and whatever NumPy's own random numbers are
        same = again.draw(np.random.default_rng(1), _DRAWN)
        expect(_same(one, same), f"{what}: the same random numbers do not give the same sequences")
        again.draw(np.random.default_rng(2), 1 + number)
    expect(
        not _same(one, task.draw(np.random.default_rng(2), _DRAWN)), f"{what}: other random numbers give the same data"
    )
    expect_equal(len(task.draw(np.random.default_rng(3), 1)), 1, f"{what}: one sequence cannot be drawn")
    for name in ("valid", "test"):
        part = task.part(name)
        expect(
            part is not None and len(part) == task.options.examples, f"{what}: its {name} part has not `examples` many"
        )
    other = type(task)(replace(task.options, seed=task.options.seed + 1))
    expect(not _same(_part(task, "test"), _part(other, "test")), f"{what}: another seed gives the same test part")


def _check_options(kind: str, options: dict[str, Any], what: str) -> None:
    refused: dict[str, Any] = {"no_such_option": 1}
    refused |= {name: -1 for name in ("seed", "examples") if name in option_names(TASKS, kind)}
    for name, value in refused.items():
        try:
            make(kind, **{**options, name: value})
        except InputError:
            continue
        raise AssertionError(f"{what}: {name}={value} is not refused; call super().__post_init__() in its options")


def _same(one: Examples, other: Examples) -> bool:
    """Whether two are the same, bit for bit."""
    pairs = zip(*((e.inputs, e.targets, e.starts) for e in (one, other)), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)
