"""Thousands of steps later the process holds what it held before."""

from __future__ import annotations

import gc
import os
import resource
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import inn
from inn.config.run import TrainConfig
from inn.training.optim import build_optimizer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts pages as Linux does"),
]


def resident() -> float:
    """Megabytes of this process that are in memory."""
    gc.collect()
    return int(Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def growth(step, steps=10_000, warm=1_000) -> float:
    for _ in range(warm):
        step()
    before = resident()
    for _ in range(steps - warm):
        step()
    return resident() - before


def test_training_does_not_leak():
    model = inn.INN(vocab=11, neurons=2, width=8, rounds=1, state=4, dropout=0.1, slots=64)
    optimizer = build_optimizer(model, TrainConfig())
    tokens = torch.randint(11, (2, 5))
    state = None

    def step():
        nonlocal state
        optimizer.zero_grad()
        logits, after = model(tokens, state)
        F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        optimizer.step()
        state = after.detach()

    assert growth(step, 2_500, 500) < 2


def test_steps_in_place_allocate_nothing_that_stays():
    model = inn.INN(vocab=11, neurons=4, width=32, rounds=2).eval()
    state = model.initial_state(1)
    places = {key: t.data_ptr() for key, t in state.items()}
    symbol = torch.zeros(1, dtype=torch.long)
    assert growth(lambda: model.step_(symbol, state)) < 2
    assert {key: t.data_ptr() for key, t in state.items()} == places
