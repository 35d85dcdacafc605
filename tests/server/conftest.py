"""Models that write varied text at once, and a server of one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import inn
from inn.config.assemble import model_config
from inn.data.vocabulary import build_vocabulary
from inn.models.build import build_model

LETTERS = "abcdefghijklmnopqrstuvwxyz \n"


def _model_of(kind: str = "inn", letters: str = LETTERS, **fields: Any) -> inn.SequenceModel:
    """An untrained model whose next symbols are far from equally likely."""
    vocabulary = build_vocabulary("characters", letters)
    if kind == "inn":
        fields = {"neurons": 3, "width": 8, "rounds": 2, **fields}
    torch.manual_seed(0)
    model = build_model(model_config(kind, vocab=vocabulary.size, **fields)).eval()
    model.vocabulary = vocabulary
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.experience = model.after_reading(torch.randint(vocabulary.size, (300,)))
    return model


@pytest.fixture(scope="session")
def model_of():
    """`model_of(kind, letters, **fields)`: a model of characters that can write."""
    return _model_of
