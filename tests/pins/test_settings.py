"""Settings: every field and default by its flat name, and flat names wherever settings are written."""

from __future__ import annotations

import json

import pinned
import pytest
import yaml
from pinned import HERE, KINDS, PRESETS, differences, facts, find, read

import inn

_SYMBOLS = {"embedding_width": 6, "tied": False}
_MEMORY = {"memory": "mamba", "state": 8, "conv": 3, "expand": 1, "dt_rank": 2, "dt_min": 0.01, "dt_max": 0.2}
_ADAPTIVE = {"head": "adaptive", "cutoffs": [5, 9], "tied": False}
GIVEN = {
    "inn dendrites": {
        **_MEMORY, **_SYMBOLS, "router": "dendrites", "neurons": 3, "width": 8, "rounds": 2, "share_rounds": True,
        "input": "copy", "weights": "communal", "communal_states": 4, "identity": "embedding", "identity_std": 0.1,
        "timescales": "spread", "norm": "rms", "gate": "soft", "gate_penalty": 0.5, "readout": "mean", "dropout": 0.1,
        "vocab": 40, "embedding_std": 0.5, "recall": [2, 4], "recall_width": 5, "recall_slots": 32,
        "recall_forget": 0.01,
    },
    "inn attention": {
        **_ADAPTIVE, "router": "attention", "heads": 2, "qk_norm": True, "zero_start": False, "routing_dropout": 0.2,
        "update": "parallel", "width": 16, "neurons": 2, "rounds": 1, "vocab": 40,
    },
    "inn bus": {"router": "bus", "bus_width": 7, "zero_start": False, "width": 8, "vocab": 40},
    "inn static": {"router": "static", "zero_start": False, "width": 8, "vocab": 40, "update": "message-norm"},
    "lstm": {**_SYMBOLS, "vocab": 40, "width": 12, "layers": 1, "dropout": 0.1, "embedding_std": 0.5},
    "lstm adaptive": {**_ADAPTIVE, "vocab": 40, "width": 32},
    "transformer": {
        **_SYMBOLS, "vocab": 40, "width": 8, "layers": 1, "heads": 2, "hidden": 12, "window": 9, "dropout": 0.1,
        "embedding_std": 0.5,
    },
    "transformer adaptive": {**_ADAPTIVE, "vocab": 40, "width": 32},
    "transformer-paper": {
        "vocab": 40, "width": 8, "layers": 1, "heads": 2, "hidden": 12, "window": 9, "dropout": 0.2,
        "embedding_std": 0.5,
    },
    "mamba-stack": {
        **_MEMORY, **_SYMBOLS, "vocab": 40, "width": 12, "layers": 1, "dropout": 0.1, "embedding_std": 0.5,
    },
    "mamba-stack adaptive": {**_ADAPTIVE, "vocab": 40, "width": 32},
    "mamba-stack-transposed": {**_MEMORY, "vocab": 40, "width": 12, "layers": 1},
    "ngram": {"vocab": 40, "order": 2},
}  # fmt: skip
"""Values other than the defaults, by flat name: between them every field of every kind."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_of_a_kind(kind):
    assert differences(read("defaults")[kind], inn.model_config(kind)) == {}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets(preset):
    assert differences(read("defaults")[f"inn {preset}"], inn.model_config("inn", preset=preset)) == {}


def test_the_defaults_of_data_and_training(desk):
    (desk / "bare.yaml").write_text("data: {corpus: 'file:corpus.txt'}\nmodel: {kind: ngram}\n", encoding="utf-8")
    settings = facts("info", "bare.yaml")["settings"]
    for section in ("data", "train"):
        assert differences(read("defaults")[section], settings[section]) == {}


def test_what_is_given_covers_every_field():
    for kind in set(KINDS) - {"mamba-stack-transposed"}:
        given = [fields for name, fields in GIVEN.items() if name.split()[0] == kind]
        assert {name for fields in given for name in fields} | {"kind"} == set(read("defaults")[kind])


@pytest.mark.parametrize("name", GIVEN)
def test_flat_names_are_taken_in_python(name):
    assert differences(GIVEN[name], inn.model_config(name.split()[0], **GIVEN[name])) == {}


@pytest.mark.parametrize("name", GIVEN)
def test_flat_names_are_taken_on_the_command_line(name, desk):
    given = [x for key, value in GIVEN[name].items() for x in (f"--model.{key}", _said(value))]
    words = ["--data.vocabulary", "words"] if "head" in GIVEN[name] else []
    settings = facts("info", "recipe.yaml", "--model.kind", name.split()[0], *given, *words)["settings"]
    assert differences(GIVEN[name], settings["model"]) == {}


def test_a_preset_is_taken_on_the_command_line_with_flat_names_over_it(desk):
    preset = ["--model.preset", "paper", "--model.heads=2", "--model.state", "8", "--model.dropout", "0.3"]
    model = facts("info", "recipe.yaml", *preset)["settings"]["model"]
    pinned_values = {**read("defaults")["inn paper"], "heads": 2, "state": 8, "dropout": 0.3, "vocab": 31}
    assert differences(pinned_values, model) == {}


@pytest.mark.parametrize("kind", [*pinned.MODELS, "transformer-paper", "mamba-stack-transposed"])
def test_an_old_recipe_of_several_models(kind, desk):
    tree = yaml.safe_load((HERE / "recipe.yaml").read_text(encoding="utf-8"))
    told = facts("info", "recipe.yaml", "--model.kind", kind)
    settings, given = told["settings"], tree["models"][kind.removesuffix("-transposed")]
    assert told["description"] == tree["description"]
    assert differences({**given, "vocab": 31, "kind": kind}, settings["model"]) == {}
    for section in ("data", "train"):
        assert differences(tree[section], settings[section]) == {}


@pytest.mark.parametrize("recipe", ["paper", "bus"])
def test_an_old_recipe_of_one_model(recipe, desk):
    tree = yaml.safe_load((HERE / f"{recipe}.yaml").read_text(encoding="utf-8"))
    base = read("defaults")["inn paper" if tree["model"].pop("preset", None) else "inn"]
    model = facts("info", f"{recipe}.yaml")["settings"]["model"]
    vocab = {"paper": 31, "bus": 94}[recipe]
    assert differences({**base, **tree["model"], "vocab": vocab}, model) == {}


def test_settings_are_found_flat_and_in_sections():
    nested = {"kind": "inn", "width": 8, "memory": {"kind": "mamba", "state": 3}, "router": {"kind": "bus"}}
    assert find(nested, "state") == 3
    assert (find(nested, "memory"), find(nested, "kind")) == ("mamba", "inn")
    assert differences({"router": "bus", "width": 8, "heads": 4}, nested) == {}, "heads are of no bus"
    assert set(differences({"router": "bus", "conv": 4, "bus_width": 2}, nested)) == {"conv", "bus_width"}
    assert differences({"state": 3.0}, nested) == {"state": (3.0, 3)}, "the type counts"


def _said(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
