"""Every kind of task keeps the contract, and a task that does not is told what does not hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import inn
from inn.config.parts import option_names
from inn.data.examples import Examples
from inn.data.tasks.base import Task, TaskOptions
from inn.data.tasks.parity import Parity
from inn.registry import TASKS
from inn.system.errors import InputError
from inn.testing import check_task

OF_FILES = {"csv", "npz"}
"""Kinds that need a file: their own tests hold them to the contract."""
MAY_LACK = {"fashion", "chaos"}
"""Kinds whose data or package may not be on this machine."""
BUILT_IN = {kind for kind in TASKS if TASKS.origin(kind) == "built in"} - {"none"}
GENERATED = sorted(BUILT_IN - OF_FILES)


@pytest.mark.parametrize(
    "kind",  # of fashion all 70,000 images are read; a dozen made up keep the contract in test_signals.py
    [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "fashion")) for kind in GENERATED],
)
def test_every_task_keeps_the_contract(kind):
    options = {"examples": 40} if issubclass(TASKS.options(kind), TaskOptions) else {}
    try:
        check_task(kind, **options)
    except InputError as error:
        if kind not in MAY_LACK:
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("modular", {"form": "sum", "shortest": 3}),
        ("modular", {"form": "table", "modulus": 7, "corrupted": 0.3}),
        ("modular", {"shortest": 2, "depth": 0}),
        ("permutations", {"group": "S5"}),
        ("machines", {"active": 6, "least": 6}),
        ("copy", {"selective": True}),
        ("recall", {"pairs": 4, "length": 12}),
        ("recall", {"asked": 1}),
        ("needle", {"noise": 0}),
        ("hmm", {"target": "state", "states": 2}),
        ("markov", {"sources": 1}),
        ("listops", {"length": 4}),
    ],
    ids=str,
)
def test_other_options_keep_it_too(kind, options):
    check_task(kind, examples=40, **options)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("parity", {"length": 0}, "length must be at least 1"),
        ("modular", {"modulus": 1}, "modulus must be at least 2"),
        ("modular", {"length": 41}, "an even number of steps, not 41"),
        ("modular", {"shortest": 50}, "shortest 50 is longer than length 40"),
        ("modular", {"corrupted": 0.1}, "corrupted does nothing with form 'brackets'; set form table"),
        ("modular", {"form": "table", "depth": 2}, "depth does nothing with form 'table'"),
        ("modular", {"form": "table", "train": 0.99}, "leaves a part of the table empty"),
        ("modular", {"form": "table", "modulus": 2}, "too small for three parts"),
        ("permutations", {"group": "S4"}, "group cannot be 'S4'"),
        ("machines", {"active": 7}, "active 7 are more than the 6 machines"),
        ("machines", {"least": 3}, "least 3 is above active 2"),
        ("copy", {"gap": -1}, "gap must be at least 0"),
        ("recall", {"pairs": 17}, "pairs 17 need as many different keys, and there are 16"),
        ("recall", {"pairs": 10, "length": 29}, "10 pairs and 10 keys asked do not fit into length 29; take 30 steps"),
        ("recall", {"asked": 7}, "asked 7 is more than the 6 pairs"),
        ("needle", {"noise": -1}, "noise must be at least 0"),
        ("needle", {"noise": 100_000}, "examples 1000 of 100000 steps .* take 335 examples or fewer"),
        ("causal", {"operators": []}, "must be one or more, each once"),
        ("causal", {"operators": ["and", "and"]}, "must be one or more, each once"),
        ("causal", {"operators": ["not"]}, "operators expects a list"),
        ("accumulate", {"largest": 0}, "largest must be at least 1"),
        ("sessions", {"workflows": 9}, "workflows 9 are more than the 8 there are"),
        ("sessions", {"rate": 0.0}, "with rate 0.0 no event is out of order"),
        ("sessions", {"active": 9}, "active 9 are more than the 8 sessions"),
        ("hmm", {"stay": 1.0}, r"stay must be in \[0, 1\)"),
        ("hmm", {"symbols": 1}, "symbols must be at least 2"),
        ("markov", {"sources": 0}, "sources must be at least 1"),
        ("listops", {"length": 3}, "length 3 holds no list"),
        ("listops", {"arguments": 1}, "arguments must be at least 2"),
        ("parity", {"examples": 0}, "examples must be at least 1"),
        ("parity", {"pairs": 1}, "option 'pairs' belongs to task 'recall', not 'parity'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_a_sentence(kind, options, sentence):
    with pytest.raises(InputError, match=sentence):
        inn.task(kind, **options)


def test_a_batch_is_drawn_in_milliseconds_and_a_long_needle_in_a_second():
    def seconds(task, count):
        task.draw(np.random.default_rng(0), 2)
        begun = time.process_time()
        task.draw(np.random.default_rng(1), count)
        return time.process_time() - begun

    for kind in "parity modular permutations machines sessions hmm markov listops".split():
        task = inn.task(kind, length=128)
        assert min(seconds(task, 64) for _ in range(3)) < 0.1, kind  # 1 to 15 ms where nothing else runs
    assert seconds(inn.task("needle", noise=100_000, examples=64), 64) < 3.0


class Unseeded(Parity):
    def draw(self, rng, count):
        return super().draw(np.random.default_rng(), count)


class Constant(Parity):
    def draw(self, rng, count):
        return super().draw(np.random.default_rng(0), count)


class OnePart(Parity):
    def rng(self, part, *numbers):
        return super().rng("test", *numbers)


class Beyond(Parity):
    def draw(self, rng, count):
        drawn = super().draw(rng, count)
        return replace(drawn, targets=drawn.targets + 1)


class Mute(Parity):
    def draw(self, rng, count):
        drawn = super().draw(rng, count)
        return replace(drawn, targets=np.full_like(drawn.targets, -100))


class Short(Parity):
    def draw(self, rng, count):
        return super().draw(rng, min(count, 10))


class Narrow(Parity):
    def draw(self, rng, count):
        drawn = super().draw(rng, count)
        return replace(drawn, inputs=drawn.inputs.astype(np.int32))


class Twice(Parity):
    @property
    def names(self):
        return ["0", "0"]


class Spaced(Parity):
    @property
    def names(self):
        return ["0", "a 1"]


class Few(Parity):
    actors = ("a",)  # pyright: ignore[reportAssignmentType]


class Nobody(Parity):
    actors = (None, None)  # pyright: ignore[reportAssignmentType]


class Numbered(Parity):
    actors = ("a", 1)  # pyright: ignore[reportAssignmentType]


@dataclass
class Careless(TaskOptions):
    length: int = 40

    def __post_init__(self) -> None:
        pass


class Unchecked(Parity):
    Options = Careless


class Still(Task):
    """A signal that says it tells its own next step, and does not."""

    signal, metric = True, "rmse"

    @property
    def channels(self):
        return ["x"]

    def draw(self, rng, count):
        x = rng.normal(size=(count, 9, 1)).astype(np.float32)
        return Examples.equal(x, x)


class Both(Still):
    @property
    def classes(self):
        return ["a", "b"]

    @property
    def values(self):
        return ["y"]


class Infinite(Still):
    @property
    def values(self):
        return ["y"]

    def draw(self, rng, count):
        drawn = super().draw(rng, count)
        return replace(drawn, inputs=drawn.inputs / 0)


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (Unseeded, "another one the second time"),
        (Constant, "other random numbers give the same data"),
        (OnePart, "parts are the same"),
        (Beyond, "a target is .* numbered from 0"),
        (Mute, "no target counts"),
        (Short, "draw does not give as many"),
        (Narrow, "inputs are not int64"),
        (Twice, "one of its names is there twice"),
        (Spaced, "hold white space"),
        (Few, "actors are not one for each"),
        (Nobody, "none of its symbols is an actor's"),
        (Numbered, r"actors \[1\] are neither"),
        (Unchecked, "is not refused"),
        (Still, "targets are not the signal's next step"),
        (Both, "classes and values"),
        (Infinite, "an input is infinite"),
    ],
)
def test_what_is_wrong_with_a_task_is_said(task, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_task(task, examples=20)


def test_the_page_names_every_task_and_what_chance_reaches():
    page = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")
    rows = {row[0]: row for row in re.findall(r"^\| `([\w-]+)` \|.*\| (\w+) \| ([\d.–]+) \|$", page, re.MULTILINE)}
    symbols = {kind for kind in BUILT_IN if not TASKS[kind].signal}
    assert set(rows) >= symbols
    for kind in symbols:
        task, (_, metric, chance) = inn.task(kind, examples=4000), rows[kind]
        assert metric == task.metric
        targets = task.part("test").targets
        if metric == "accuracy":
            assert np.bincount(targets[targets >= 0]).max() / (targets >= 0).sum() == pytest.approx(
                float(chance), abs=0.02
            )
        described = re.search(rf"^\*\*[\w, ]*\b{kind}\b.*?\n\n", page, re.MULTILINE | re.DOTALL)
        assert described, f"no paragraph on {kind}"
        own = set(option_names(TASKS, kind)) - {"seed", "examples"}
        assert not [name for name in own if f"`{name}`" not in described[0]], kind


def test_options_are_looked_up_without_pytorch():
    code = "import sys; from inn.registry import TASKS as t; list(map(t.options, t)); sys.exit('torch' in sys.modules)"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=paths)
