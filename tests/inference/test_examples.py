"""What is measured on the examples of a task."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import inn
from inn.inference.examples import evaluate_examples
from inn.inference.held_out import evaluate_run
from inn.training.start import train


def test_a_label_that_is_one_of_the_first_two_symbols_has_an_auroc():
    task = inn.task("sessions", length=20, rate=0.3)
    examples = task.draw(np.random.default_rng(0), 6)
    torch.manual_seed(0)
    model = inn.INN(vocab=len(task.names), neurons=1, width=8, rounds=1, recall=[]).eval()
    logits = model(torch.from_numpy(examples.padded()[0]))[0].detach().numpy().reshape(-1, len(task.names))
    scores = logits[:, 1] - logits[:, 0]
    pairs = list(itertools.product(scores[examples.targets == 1], scores[examples.targets == 0]))
    found = evaluate_examples(model, examples).metrics
    assert found["auroc"] == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a, b in pairs]))
    many = inn.task("copy").draw(np.random.default_rng(0), 6)
    model = inn.INN(vocab=10, neurons=1, width=8, rounds=1, recall=[])
    assert "auroc" not in evaluate_examples(model, many).metrics


def test_the_optimum_of_a_task_stands_beside_the_score(tmp_path):
    run = train(
        "task:markov",
        tmp_path / "run",
        model={"neurons": 1, "width": 8, "rounds": 1},
        data={"batch": 4, "task": {"length": 12, "examples": 30}},
        train={"symbols": 96, "threads": 1, "device": "cpu"},
    )
    facts = evaluate_run(run, "test")
    markov = inn.task("markov", length=12, examples=30)
    assert facts["floors"]["optimal"] == pytest.approx(markov.optimal_loss(markov.part("test")) / np.log(2))
    assert facts["floors"]["optimal"] < facts["floors"]["constant"] < facts["bits"] + 1
