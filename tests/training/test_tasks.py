"""Training on a task: resumed bit for bit, whatever the parts are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from inn.config.parts import Options
from inn.config.run import DataConfig
from inn.data.corpora import corpus_text
from inn.data.examples import IGNORED, Examples, last_step
from inn.data.task_data import task_data
from inn.data.tasks.base import Task
from inn.inference.held_out import evaluate_run
from inn.registry import TASKS
from inn.runs.load import load
from inn.system.errors import InputError
from inn.training import events
from inn.training.start import train

SMALL = {"neurons": 2, "width": 4, "rounds": 1}


@dataclass
class FewOptions(Options):
    """Twelve sequences of unequal lengths."""

    weighted: bool = False
    """Half of them count nothing."""


class Few(Task):
    """A fixed set: the label is whether the first symbol is the last one's, and counts at the end."""

    Options = FewOptions

    @property
    def names(self) -> list[str]:
        return ["a", "b", "c"]

    def part(self, name: str) -> Examples:
        rng = self.plain(name)
        inputs = [rng.integers(0, 3, length) for length in rng.integers(2, 7, 12)]
        found = Examples.of(inputs, [last_step(int(x[0] == x[-1]), len(x)) for x in inputs])
        weights = np.tile(np.array([0, 2], np.float32), 6) if self.options.weighted and name == "train" else None
        return Examples(found.inputs, found.targets, found.starts, weights)

    def plain(self, name: str) -> np.random.Generator:
        return np.random.default_rng(len(name))


@pytest.fixture(autouse=True)
def few():
    with TASKS.lent("few", Few):
        yield


def settings(**train_: object) -> dict:
    return {"symbols": 300, "eval_every": 3, "checkpoint_every": 2, "threads": 1, **train_}


@pytest.mark.parametrize("corpus", ["task:parity", "task:few"])
def test_a_run_that_was_stopped_is_the_run_that_was_not(tmp_path, corpus):
    data = {"batch": 5, **({"task": {"length": 6}} if corpus == "task:parity" else {})}
    options = {"model": SMALL, "data": data, "train": settings()}
    whole = train(corpus, tmp_path / "whole", **options)

    class Stop(Exception):
        pass

    def stop(event: events.Event) -> None:
        if isinstance(event, events.Saved) and event.step == 4:
            raise Stop

    with pytest.raises(Stop):
        train(corpus, tmp_path / "part", **options, report=stop)
    part = train(None, tmp_path / "part", resume=True)
    a, b = load(whole).state_dict(), load(part).state_dict()
    assert all(np.array_equal(a[name], b[name]) for name in a)
    drop = ("seconds", "time", "symbols_per_s")
    lines = [[{k: v for k, v in line.items() if k not in drop} for line in run.metrics()] for run in (whole, part)]
    assert lines[0] == lines[1]


def test_every_example_is_read_once_a_pass():
    data = task_data(DataConfig(corpus="task:few", batch=5))
    batches = data.batches(DataConfig(corpus="task:few", batch=5), 3, slice(None))
    seen = []
    for _ in range(12):  # 60 sequences are 5 passes over 12
        batch = batches.next()
        seen += [
            tuple(row[:n]) for row, n in zip(batch.inputs.tolist(), (batch.targets != IGNORED).int().argmax(1) + 1)
        ]
    of_train = data.examples("train")
    once = sorted(tuple(x.tolist()) for x in np.split(of_train.inputs, of_train.starts[1:-1]))
    for at in range(0, 60, 12):
        assert sorted(seen[at : at + 12]) == once
    assert batches.passes == 5


def test_rows_of_several_processes_are_those_of_one():
    for corpus in ("task:parity", "task:few"):
        config = DataConfig(corpus=corpus, batch=6)
        data = task_data(config)
        whole = data.batches(config, 1, slice(None)).next()
        halves = [data.batches(config, 1, rows).next() for rows in (slice(0, 3), slice(3, 6))]
        for half, rows in zip(halves, (slice(0, 3), slice(3, 6))):
            steps = half.inputs.shape[1]
            assert half.inputs.tolist() == whole.inputs[rows, :steps].tolist()
            assert half.targets.tolist() == whole.targets[rows, :steps].tolist()


def test_weights_decide_what_is_learnt_from(tmp_path):
    data = {"batch": 12, "task": {"weighted": True}}
    run = train("task:few", tmp_path / "run", model=SMALL, data=data, train=settings())
    found, config = load(run), DataConfig(corpus="task:few", **data)
    one = task_data(config).batches(config, 0, slice(None)).next()
    logits = found(one.inputs)[0].detach()
    both = [found.loss(logits[r : r + 1], one.targets[r : r + 1]) for r in range(12)]
    weighed = found.loss(logits, one.targets, one.weights)
    assert float(weighed) == pytest.approx(sum(float(n) * w for n, w in zip(both, one.weights.tolist())), rel=1e-5)


def test_evaluation_says_what_it_measured(tmp_path):
    run = train("task:parity", tmp_path / "run", model=SMALL, data={"task": {"length": 6}}, train=settings())
    facts = evaluate_run(run, "test", task={"length": 9, "examples": 40})
    assert (facts["count"], facts["sequences"], facts["task"]["length"]) == (360, 40, 9)
    assert facts["score"] == facts["metrics"]["accuracy"]
    assert facts["floors"]["constant"] == pytest.approx(1.0, abs=0.02)
    assert evaluate_run(run, "test", limit=3)["sequences"] == 3
    for options, sentence in (
        ({"task": {"lenth": 3}}, "task 'parity' has no option 'lenth'; did you mean 'length'"),
        ({"task": {"length": 0}}, "length must be at least 1"),
        ({"streams": 4}, "are of a text"),
        ({"split": "tests"}, "unknown part of a task 'tests'"),
    ):
        with pytest.raises(InputError, match=sentence):
            evaluate_run(run, **options)


def test_models_and_data_of_different_sorts_are_refused(tmp_path):
    with pytest.raises(InputError, match="counts what follows what"):
        train("task:few", tmp_path / "a", model={"kind": "ngram"}, train=settings())
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="holds examples with targets, and a text is asked for"):
        corpus_text("task:few")
