"""Sequences of a task on the page: what is told and what was to be told, step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from inn.config.assemble import model_config
from inn.data.examples import IGNORED, Examples
from inn.data.names import Channels, Names
from inn.explorer.examples import read_examples
from inn.models.build import build_model
from inn.models.inn import INN


def test_symbols_are_shown_by_name_with_the_target_at_steps_that_count():
    m = INN(vocab=3, neurons=2, width=4, rounds=1, recall=[]).eval()
    m.vocabulary = Names(["low", "high", "?"])
    inputs, targets = np.array([[0, 1, 2], [1, 1, 2]]), np.array([[IGNORED, IGNORED, 0], [IGNORED, IGNORED, 1]])
    found = read_examples(m, Examples.equal(inputs, targets), title="two")
    assert found["text"] == ["low ", "high ", "?\n", "high ", "high ", "?\n"]
    assert found["due"] == [None, None, "low", None, None, "high"]
    assert found["steps"] == [1, 2, 3, 1, 2, 3]
    assert [found["labels"][i] for i in found["ids"]] == ["low", "high", "?", "high", "high", "?"]
    for row, t in ((0, 2), (1, 5)):  # each from a fresh state
        logits = m(torch.from_numpy(inputs[row : row + 1]))[0][0, -1].detach()
        cost = -float(logits.log_softmax(-1)[targets[row, -1]]) / math.log(2)
        assert found["bits"][t] == pytest.approx(cost, abs=1e-3)
        assert found["labels"][found["top"]["ids"][3 * t]] == m.vocabulary.symbol(int(logits.argmax()))


def test_a_signal_shows_its_values_and_what_is_told_of_them():
    config = model_config("signal", features=2, outputs=1, head="values", neurons=2, width=4, rounds=1)
    m = build_model(config).eval()
    m.vocabulary = Channels(["x", "y"], values=["z"])
    inputs = np.array([[[0.12345, np.nan], [1.0, -2.0]]], np.float32)
    found = read_examples(m, Examples.equal(inputs, np.array([[[np.nan], [3.0]]], np.float32)))
    assert [piece.replace("\u00a0", " ").strip() for piece in found["text"]] == ["0.123 –", "1 -2"]
    assert found["due"] == [None, "3"]
    assert found["bits"][0] is None
    assert found["said"][1] == f"{m(torch.from_numpy(inputs))[0][0, 1, 0].item():.3g}"
    assert found["top"]["each"] == 0
