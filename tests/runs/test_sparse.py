"""What is recalled, in a file: large tables by what is in them."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

import inn
from inn.runs.exported import read_experience
from inn.runs.sparse import packed
from inn.system.errors import InputError


@pytest.fixture
def model():
    recall = {"kind": "counts", "contexts": [1, 3]}
    return inn.INN(vocab=5, neurons=2, width=4, rounds=1, recall=recall)


def test_a_file_has_what_is_in_the_tables_alone(model, tmp_path):
    state, path = model.after_reading(torch.arange(400) ** 2 % 5), tmp_path / "experience.safetensors"
    save_file(packed(state.to_tensors()), path)
    assert path.stat().st_size < state.bytes / 100
    found = read_experience(path, model)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], t) for key, t in state.items())


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {**t, "v1/-1/table/places": t["v1/-1/table/places"] + 2**30},
        lambda t: {**t, "v1/-1/table/places": t["v1/-1/table/places"] - 2**30},
        lambda t: {**t, "v1/-1/table/values": t["v1/-1/table/values"][1:]},
        lambda t: {**t, "v1/-1/other/places": t["v1/-1/table/places"] + 1},
        lambda t: {**t, "v1/-1/table/places": t["v1/-1/table/places"].double()},
        lambda t: {name: one for name, one in t.items() if not name.endswith("values")},
        lambda t: {**t, "v1/-1/table/values": t["v1/-1/table/values"].long()},
    ],
)
def test_a_damaged_one_is_a_sentence(model, tmp_path, change):
    path = tmp_path / "experience.safetensors"
    save_file(packed(model.after_reading(torch.arange(40) % 5).to_tensors()), path)
    save_file({name: t.contiguous() for name, t in change(load_file(path)).items()}, path)
    with pytest.raises(InputError, match="remove it to do without"):
        read_experience(path, model)
