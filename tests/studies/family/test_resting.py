"""Entry 7: what it measures on gates whose answer is known, and its verdicts."""

from __future__ import annotations

import json

import pytest

from inn.training.start import train
from inn_studies.family import resting
from inn_studies.family.entry import row


def result(priced=(0.99, 0.2), free=0.9, never=0.06, high=(0.06, 1.0)) -> dict:
    gates = {resting.PRICED: (*priced, 0.0), resting.FREE: (0.99, free, 0.0), resting.DEAR: (0.06, 0.0, 2.0)}
    gates[resting.HIGH] = (high[0], 0.02, high[1])
    names = (resting.TEST, resting.SHARE, resting.TOLD)
    rows = [row(label, {n: [v] for n, v in zip(names, found, strict=True)}) for label, found in gates.items()]
    alone = {resting.ALWAYS: 0.995, resting.NEVER: never}
    return {"rows": [*rows, *(row(label, {resting.TEST: [v]}) for label, v in alone.items())]}


@pytest.mark.parametrize(
    ("measured", "missed"),
    [
        ({}, []),
        ({"priced": (0.98, 0.2)}, ["accuracy"]),
        ({"priced": (0.99, 0.26)}, ["density"]),
        ({"never": 0.5}, ["control"]),
        ({"free": 0.2}, ["price"]),
        ({"high": (0.06, 0.0)}, ["collapse"]),
        ({"high": (0.9, 0.0)}, []),
    ],
    ids=str,
)
def test_resting_is_judged_by_accuracy_and_by_who_takes_part(measured, missed):
    assert [c.id for c in resting.Resting().criteria(result(**measured)) if c.verdict == "no"] == missed
    assert "0.02 nats 20% (accuracy 0.99)" in resting.Resting().found(result())


def test_density_and_warnings_are_those_of_the_run(tmp_path):
    run = train(
        "task:recall", tmp_path / "run", data={"batch": 2, "task": {"pairs": 1, "length": 4, "examples": 4}},
        model={**resting.GRAPH, "recall": "[]", "gate": "active"}, train={"symbols": 8, "threads": 1},
    )  # fmt: skip
    assert resting.told(str(run.path), "test", {})["value"] == 0
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(
            json.dumps({"event": "warning", "step": 1, "message": "no neuron has taken part at any step"}) + "\n"
        )
    assert resting.told(str(run.path), "test", {})["value"] == 1
    assert 0 < resting.density(str(run.path), "test", {"most": 4, "without": 1.0})["value"] <= 1
