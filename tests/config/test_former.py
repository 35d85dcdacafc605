"""Recall as it was before it was a part: a list of contexts, and fields of the model beside it. They are still read."""

from __future__ import annotations

import pytest
import yaml

import inn
from inn.config.assemble import stored_model
from inn.config.parts import plain
from inn.config.run import RunConfig
from inn.config.settings import resolve_settings
from inn.surgery.organ import Organ, cut
from inn.system.errors import InputError

SMALL = {"neurons": 2, "width": 8, "rounds": 1}
LAST = {"recall": [3, 1], "recall_width": 4, "recall_slots": 64, "recall_forget": 0.1}
NONE = {"recall": [], "recall_width": 24, "recall_slots": 65536, "recall_forget": 0.004}
"""As configurations wrote recall out, with contexts and without."""
MEANT = {"kind": "last", "contexts": [3, 1], "width": 4, "slots": 64, "forget": 0.1}


def old(recall):
    """A configuration as it was written with these fields."""
    tree = plain(inn.model_config(**SMALL))
    del tree["recall"]
    return {**tree, **recall}


@pytest.mark.parametrize("recall, meant", [(LAST, MEANT), (NONE, "none")])
def test_a_stored_configuration(recall, meant):
    ours = inn.model_config(**SMALL, recall=meant)
    assert stored_model(old(recall)) == ours
    assert stored_model(plain(ours)) == ours
    tree = {"model": old(recall), "data": {}, "train": {}}
    assert RunConfig.from_dict(tree).model == ours


@pytest.mark.parametrize("recall, meant", [(LAST, MEANT), (NONE, "none")])
def test_a_hugging_face_configuration(recall, meant):
    config = pytest.importorskip("inn.hf.config")
    assert config.INNHFConfig(inn=old(recall)).build() == inn.model_config(**SMALL, recall=meant)


def test_an_organ(tmp_path):
    model = inn.INN(**SMALL, recall=MEANT)
    organ = cut(model, neurons=[1])
    organ.about["model"] = old({**LAST, "vocab": 256})
    organ.save(tmp_path / "organ.safetensors")
    assert Organ.load(tmp_path / "organ.safetensors").config == model.config


@pytest.mark.parametrize(
    "fields, contexts, width",
    [
        ({"recall_width": 4}, inn.INNConfig().recall.contexts, 4),
        ({"recall": [3, 1]}, [3, 1], 24),
        ({"preset": "distinct", "recall": [3, 1], "recall_width": 4}, [3, 1], 4),
        ({"recall": [], "recall_width": 4}, None, None),
        ({"preset": "distinct", "recall_width": 4}, None, None),
    ],
)
def test_a_recipe(tmp_path, fields, contexts, width):
    for number, tree in enumerate(({"model": fields}, {"model": {}, "models": {"inn": fields}})):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(tree))
        recall = resolve_settings(str(path)).model.recall
        assert (getattr(recall, "contexts", None), getattr(recall, "width", None)) == (contexts, width)
        again = resolve_settings(str(path), ["--model.recall", "[2]", "--model.recall.slots", "8"]).model.recall
        assert (again.contexts, again.width, again.slots) == ([2], width or 24, 8)
        assert resolve_settings(str(path), ["--model.recall=none"]).model.recall.kind == "none"


def test_in_python_and_on_the_command_line():
    ours = inn.model_config(recall=MEANT)
    assert inn.model_config(**LAST) == ours
    assert inn.model_config(recall=(3, 1), recall_options={"width": 4}, slots=64, recall_forget=0.1) == ours
    assert inn.model_config(recall=[]) == inn.model_config(recall="none")
    assert resolve_settings("text8-last", ["--model.recall", "[ ]"]).model.recall.kind == "none"
    for odd in ("[[]]", "[", "[]]", "[a]"):
        with pytest.raises(InputError, match="recall"):
            resolve_settings("text8-last", ["--model.recall", odd])
    given = ["--model.recall", "[3, 1]", "--model.recall_width", "4", "--model.slots=64", "--model.recall.forget=0.1"]
    assert resolve_settings("text8-last", given).model.recall == ours.recall
    with pytest.raises(InputError, match="option 'slots' belongs to recall 'last' or 'counts', not 'none'"):
        inn.model_config(recall=[], recall_slots=64)
    with pytest.raises(InputError, match="option 'slots' belongs to recall 'last' or 'counts', not 'none'"):
        resolve_settings("text8-last", ["--model.recall=[]", "--model.recall_slots", "64"])
    with pytest.raises(InputError, match="unknown field 'recall_slots' of model kind 'lstm'"):
        inn.model_config("lstm", recall_slots=64)


def test_an_options_own_name_means_that_of_another_part_where_both_have_one():
    config = inn.model_config(memory="lstm", forget=0.5)
    assert (config.memory.forget, config.recall.forget) == (0.5, 0.004)
    given = ["--model.memory", "lstm", "--model.forget", "0.5"]
    assert resolve_settings("text8-last", given).model.memory.forget == 0.5
    assert inn.model_config(forget=0.5).recall.forget == 0.5
