"""A spiking population that does not fire is told of, once; one that fires is not."""

import pytest
import toys  # noqa: F401 - registers the task

from inn.training import alarms, events
from inn.training.start import train


@pytest.mark.parametrize("threshold", [1000.0, 0.2])
def test_a_silent_population_is_told_of_once(tmp_path, threshold):
    told = []

    def report(event):
        if isinstance(event, events.Warned):
            told.append(event)

    memory = {"kind": "lif", "expand": 1, "threshold": threshold}
    model = {"kind": "signal", "neurons": 2, "width": 4, "rounds": 1, "memory": memory}
    train_ = {"symbols": 11000, "lr": 1e-4, "log_every": 20, "eval_every": 500, "threads": 1}
    run = train(
        "task:toy-wave", tmp_path / "run", model=model, data={"batch": 6, "task": {"told": "classes"}}, train=train_,
        report=report,
    )  # fmt: skip
    lines = [line for line in run.metrics() if line["event"] == "train"]
    assert lines[-1]["step"] > 140
    warned = [event for event in told if "rounds.0.memory" in event.message]
    if threshold == 1000.0:
        assert all(line["firing.rounds.0.memory"] == 0 for line in lines)
        assert [event.step for event in warned] == [120]  # 100 steps after the first look, at step 20
        assert "no unit of rounds.0.memory has fired for 100 steps" in warned[0].message
    else:
        assert all(line["firing.rounds.0.memory"] > 0 for line in lines)
        assert not warned


def test_one_spike_in_between_is_enough():
    silent, once = {"a": 0.0}, {"a": 0.01}
    assert alarms.silent([(10, silent), (100, silent)]) == []
    assert alarms.silent([(10, silent), (110, silent)]) == ["a"]
    assert alarms.silent([(10, silent), (60, once), (110, silent), (200, silent)]) == []
    assert alarms.silent([(0, {}), (300, {})]) == []
