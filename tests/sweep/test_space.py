"""Spaces: what a file means, and what is refused."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inn.sweep.space import Choice, Range, Space, read_space
from inn.system.errors import InputError


def space_of(tmp_path: Path, text: str, kind: str = "inn") -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return read_space(path, kind)


def test_a_file_means_what_it_says(tmp_path):
    space = space_of(
        tmp_path,
        "train.lr: {low: 1e-3, high: 2e-2, log: true}\n"
        "model.neurons: [4, 8, 16]\n"
        "model.width: {low: 8, high: 64, step: 8}\n"
        "train.clip: {low: 0, high: 2}\n"
        "model.recall: [[2, 3], []]\n"
        "model.router: [dendrites, bus]\n"
        "train.checkpoint_rounds: [true, false]\n",
    )
    assert space.parts == {
        "train.lr": Range(1e-3, 2e-2, log=True),
        "model.neurons": Choice((4, 8, 16)),
        "model.width": Range(8, 64, step=8),
        "train.clip": Range(0.0, 2.0),
        "model.recall": Choice(("[2, 3]", "[]")),
        "model.router": Choice(("dendrites", "bus")),
        "train.checkpoint_rounds": Choice((True, False)),
    }
    assert isinstance(space.parts["train.clip"].low, float)
    assert isinstance(space.parts["model.width"].low, int)


def test_fields_are_those_of_the_kind(tmp_path):
    assert space_of(tmp_path, "model.layers: [1, 2]", "lstm").names == ["model.layers"]
    with pytest.raises(InputError, match=r"unknown field 'model\.layers'"):
        space_of(tmp_path, "model.layers: [1, 2]", "inn")


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "is empty; name a setting to search"),
        ("{}", "is empty"),
        ("[1, 2]", "must map settings to ranges"),
        ("train.lr: [", r"is not valid YAML \(line \d\)"),
        ("lr: [1]", "unknown setting 'lr' in the space; write it as SECTION.FIELD"),
        ("train: [1]", "'train' in the space is a whole section"),
        ("train.lrr: [1]", r"unknown field 'train\.lrr'; did you mean 'lr'\?"),
        ("model.neruons: [1]", r"unknown field 'model\.neruons'; did you mean 'neurons'\?"),
        ("train.lr: {low: 1, high: 2, when: {model.memory: elm}}", "'model.memory' is not in the space"),
        ("{model.memory: [elm], train.lr: {low: 1, high: 2, when: {model.memory: gru}}}", "none of its choices"),
        ("{model.memory: [elm], train.lr: {low: 1, high: 2, when: {model.memory: elmm}}}", "cannot be 'elmm'"),
        ("{train.clip: {low: 1, high: 2}, train.lr: {low: 1, high: 2, when: {train.clip: 1}}}", "be a list of choices"),
        ("train.lr: {low: 1, high: 2, when: elm}", "when must say which settings"),
        ("model.neurons: {values: [2, 4], step: 2}", "unknown key 'step'"),
        ("model.neurons: {values: 2}", "values must be a list"),
        (
            "{model.rounds: {values: [1, 2], when: {model.neurons: 2}}, model.neurons: {values: [2], when: "
            "{model.rounds: 1}}}",
            "conditions of 'model.rounds', 'model.neurons' in the space go in a circle",
        ),
        ("train.lr: 3", "must be a range or a list, not '3'"),
        ("train.lr: []", "has no choices"),
        ("train.lr: [1, 1]", "lists a value twice"),
        ("train.lr: [1e-3, 0.001]", "lists a value twice"),
        ("model.neurons: [four]", "--model.neurons expects a whole number, not 'four'"),
        ("model.router: [bsu]", "--model.router cannot be 'bsu'; did you mean 'bus'"),
        ("train.lr: {low: 1}", "has no 'high'"),
        ("train.lr: {low: 1, high: 2, logs: true}", "unknown key 'logs'; did you mean 'log'"),
        ("train.lr: {low: 2, high: 1}", "goes from 2 to 1; low must be below high"),
        ("train.lr: {low: 1, high: 1}", "goes from 1 to 1; low must be below high"),
        ("train.lr: {low: 0, high: 1, log: true}", "low must be above 0"),
        ("train.lr: {low: 0, high: 1, log: 3}", "log must be true or false"),
        ("train.lr: {low: 0, high: 1, step: 0}", "step must be above 0"),
        ("train.lr: {low: 1, high: 2, step: 1, log: true}", "step must be above 0, and goes with no log"),
        ("train.lr: {low: small, high: 1}", "low must be a number, not 'small'"),
        ("train.lr: {low: .nan, high: 1}", "low must be a number"),
        ("model.neurons: {low: 1.5, high: 3}", "takes whole numbers; low is 1.5"),
        ("model.router: {low: 1, high: 3}", "is no number"),
        ("model.kind: {low: 1, high: 3}", "is no number"),
    ],
)
def test_what_means_nothing_is_refused(tmp_path, text, sentence):
    with pytest.raises(InputError, match=sentence):
        space_of(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        read_space(tmp_path / "none.yaml")


@given(st.integers(-5, 5), st.integers(1, 4), st.sampled_from([None, 2]), st.booleans())
def test_what_is_suggested_is_held(low, half, step, whole):
    width = 2 * half
    part = Range(low, low + width, step=step) if whole else Range(float(low), float(low + width))
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=low + 5)).ask()
    value = Space({"x": part}).suggest(trial)["x"]
    assert part.holds(value)
    assert isinstance(value, int) == whole
    assert not part.holds(low - 1)
    assert not part.holds(low + width + 1)
    assert not part.holds("x")


def test_under_a_condition_a_setting_is_searched_and_told_or_neither(tmp_path):
    """Whatever its place in the file; and what hangs on a setting that is not searched is not, either."""
    space = space_of(
        tmp_path,
        "model.memory.tau_max: {low: 10, high: 1000, when: {model.memory: elm}}\n"
        "model.rounds: {values: [1, 2], when: {model.neurons: [4, 8]}}\n"
        "model.neurons: {values: [2, 4, 8], when: {model.memory: elm}}\n"
        "model.memory: [elm, mamba]\n",
    )
    assert space.when["model.rounds"] == {"model.neurons": (4, 8)}
    study, seen = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), set()
    for _ in range(40):
        trial = study.ask()
        values = space.suggest(trial)
        assert values == trial.params
        assert ("model.neurons" in values) == ("model.memory.tau_max" in values) == (values["model.memory"] == "elm")
        assert ("model.rounds" in values) == (values.get("model.neurons", 2) > 2)
        seen.add(tuple(values))
    assert len(seen) == 3
    assert space.own({"model.memory": "mamba", "model.neurons": 3}) == {"model.memory": "mamba"}
    assert space.own({"model.memory": "elm", "model.neurons": 3, "model.memory.tau_max": 20.0}) is None
