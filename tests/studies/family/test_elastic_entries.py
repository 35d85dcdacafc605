"""Entries 1b, 10 and 31: what they measure on small cases, and verdicts that follow the numbers."""

from __future__ import annotations

import pytest

from inn.training.start import train
from inn_studies.family import generated, nested, taught
from inn_studies.family.entry import row


def missed(entry, result: dict) -> list[str]:
    return [c.id for c in entry.criteria(result) if c.verdict == "no"]


def sizes(
    small: float = 1.05, full: float = 1.01, cut: float = 1.5, off: float = 1e-9, reading: tuple = (1.0, 2.0)
) -> dict:
    one, two = "1 neuron", "2 neurons"
    rows = [
        row(nested.NESTED, {one: [2 * small], two: [full]}, characters=10, compute=1.5),
        row(nested.CHEAPER, {one: [2 * small], two: [full]}, characters=7, compute=1.0),
        row(nested.OWN, {one: [2.0], two: [1.0]}, control=True, characters=10, compute=1.5),
        row(nested.CUT, {one: [2 * cut]}, control=True, characters=10, compute=1.0),
    ]
    served = {
        str(n): {"flops": n, "parameters": n, "state_bytes": n, "read": seconds, "write": 1.0}
        for n, seconds in zip((1, 2), reading, strict=True)
    }
    return {"rows": rows, "served": served, "off": off}


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ({}, []),
        ({"small": 1.09}, ["each size"]),
        ({"full": 1.03}, ["the full one"]),
        ({"cut": 1.2}, ["plain cutting"]),
        ({"off": 1e-4}, ["`inn.keep`"]),
        ({"reading": (2.0, 1.0)}, ["four sizes of one run"]),
    ],
    ids=str,
)
def test_sizes_are_judged_by_their_own_training(measured, said):
    entry = nested.Nested()
    assert missed(entry, sizes(**measured)) == said
    assert "(7 characters in place of 10) it is 1 neuron" in entry.found(sizes(**measured))
    assert "| 1 neuron | 1 | 0 |" in entry.table(sizes())


@pytest.mark.slow
def test_prefixes_are_measured_of_models_cut_out(tmp_path, text):
    run = train(
        "study-smoke", tmp_path / "run", model={"neurons": 2, "recall": [2]}, train={"symbols": 256, "threads": 1},
        data={"corpus": f"file:{text}"},
    )  # fmt: skip
    found = nested.prefixes(str(run.path), [1, 2], 60)
    assert found["1"]["parameters"] < found["2"]["parameters"]
    assert found["1"]["bits"] != found["2"]["bits"]
    assert max(f["off"] for f in found.values()) < 1e-12
    times = nested.timings(str(run.path), [1, 2], 4, 1)
    assert all(t["read"] > 0 and t["write"] > 0 for t in times.values())


def learned(module: float = 0.8, alone: float = 0.75, logits: float = 0.78, seeds: int = 3) -> dict:
    scores = {taught.MODULE: module, taught.SCRATCH: alone, taught.LOGITS: logits}
    scores |= {taught.SCRATCH_LONG: 0.77, taught.LOGITS_LONG: 0.81}
    return {"rows": [row(n, {taught.TEST: [v] * seeds}) for n, v in scores.items()], "joint": 200, "total": 500}


def test_a_student_is_judged_at_equal_joint_steps():
    entry = taught.Taught()
    assert missed(entry, learned()) == []
    assert missed(entry, learned(alone=0.79)) == ["alone"]
    assert missed(entry, learned(logits=0.795)) == ["by logits"]
    assert {c.verdict for c in entry.criteria(learned(seeds=2))} == {"undecided"}
    assert (
        "it takes 500 steps in place of 200. Against as many of these it is, in points: alone +3.0, by logits -1.0"
        in (entry.found(learned()))
    )


def gates(own: float = 0.25, other: float = 0.08, random: float = 0.08, trained: float = 0.26, seconds: float = 0.1):
    values = {generated.OWN: own, generated.OTHER: other, generated.RANDOM: random, generated.TRAINED: trained}
    rows = [
        row(f"{label}, {b:.0%} of the neurons", {"accuracy": [value]})
        for b in generated.BUDGETS
        for label, value in values.items()
    ]
    return {"rows": rows, "runs": [{"seconds": seconds, "best": 0.27}]}


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ({}, []),
        ({"other": 0.24}, ["another task's gates"]),
        ({"random": 0.2}, ["random gates"]),
        ({"trained": 0.3}, ["training"]),
        ({"seconds": 2.0}, ["time"]),
    ],
    ids=str,
)
def test_gates_are_judged_by_those_of_others_and_by_training(measured, said):
    assert missed(generated.Generated(), gates(**measured)) == said


@pytest.mark.slow
def test_what_is_generated_is_scored_by_the_tables():
    found = generated.generated(0, 16, 2, 2, 1)
    assert {*found["found"]} == {f"{b:g}" for b in generated.BUDGETS}
    for scores in found["found"].values():
        assert all(0 < value[0] <= found["best"] for value in scores.values())
