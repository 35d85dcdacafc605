"""A finished run keeps what its model can recall of the training text."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.data.prepare import prepare
from inn.models.inn import RECALL
from inn.nn.modes import as_tokens
from inn.training import validation
from inn.training.trainer import fit


def test_a_finished_run_keeps_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "READ", 200)
    config = tiny()
    assert fit(config, tmp_path / "run")["status"] == "finished"
    model = inn.load(tmp_path / "run")
    last = as_tokens(prepare(config.data).train[-200:], torch.device("cpu"))
    assert torch.equal(model.experience[RECALL, "table"], model.after_reading(last)[RECALL, "table"])
    stored = tmp_path / "run" / "experience.safetensors"
    stored.write_bytes(stored.read_bytes()[:100])
    with pytest.raises(inn.InputError, match=r"experience.safetensors': it is damaged .* remove it to do without"):
        inn.load(tmp_path / "run")
    stored.unlink()
    assert inn.load(tmp_path / "run").experience is None


@pytest.mark.parametrize("kind, model", [("inn", {"recall": []}), ("lstm", {}), ("ngram", {})])
def test_models_that_recall_nothing_have_none(tiny, tmp_path, kind, model):
    fit(tiny(kind, model=model), tmp_path / "run")
    assert not (tmp_path / "run" / "experience.safetensors").exists()
    assert inn.load(tmp_path / "run").experience is None
