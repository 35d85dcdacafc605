"""A model made by hand, whose neurons have known roles, and a text for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import inn
from inn.data.dataset import Dataset
from inn.data.vocabulary import Characters

HUB, DEAD, SLOW, VOWEL = 0, 1, 2, 3
STEP = 0.1
"""Step size of the slow neuron's memory, whose A is -1: its time constant is 10 symbols, its half-life 10 ln 2."""


@dataclass
class Planted:
    """A model, its text, and which neuron is what."""

    model: inn.INN
    dataset: Dataset
    hub: int = HUB
    dead: int = DEAD
    slow: int = SLOW
    vowel: int = VOWEL
    half_life: float = math.log(2) / STEP
    time_constant: float = 1 / STEP
    pushed: str = "b"


@pytest.fixture(scope="session")
def planted() -> Planted:
    """Four neurons: a hub, a dead one, one with a known time constant, and one that speaks at vowels alone.

    The vowel neuron pushes up `b`, and in the text a `b` comes after every vowel.
    """
    torch.manual_seed(0)
    vocabulary = Characters("abce .")
    model = inn.INN(
        vocab=6, neurons=4, width=8, rounds=1, router="mixing", recall=[], tied=False, zero_start=False, state=4
    ).eval()
    memory, router = model.graph.round(0).memory, model.graph.round(0).router
    vowels = vocabulary.encode("ae").tolist()
    with torch.no_grad():
        router.weights.copy_(torch.tensor([0.7, 0.1, 0.1, 0.1]).expand(4, 4))  # everyone hears the hub
        router.value.bias.zero_()
        router.out.bias.zero_()
        # The dead neuron gets nothing, says nothing, and hears nothing.
        embedding = model.embedding.weight.view(6, 4, 8)
        embedding[:, DEAD] = 0.0
        memory.conv_bias[DEAD] = memory.out_proj.weight[DEAD] = router.out.weight[DEAD] = 0.0
        # The slow neuron decays by the same at every symbol.
        memory.dt_proj.weight[SLOW] = 0.0
        memory.dt_proj.bias[SLOW] = math.log(math.expm1(STEP))
        memory.A_log[SLOW] = 0.0
        # The vowel neuron is fed by vowels alone, and remembers nothing.
        embedding[:, VOWEL] = 0.0
        embedding[vowels, VOWEL] = torch.randn(8)
        memory.conv_bias[VOWEL] = memory.x_proj.weight[VOWEL] = router.out.weight[VOWEL] = 0.0
        memory.conv_weight[VOWEL] = torch.tensor([0.0, 0.0, 0.0, 1.0])
        said = _outputs(model, vowels[0])[VOWEL]
        model.head.weight.zero_()
        model.head.weight.view(6, 4, 8)[vocabulary.encode("b")[0], VOWEL] = 10 * (said - said.mean())
    draw = np.random.default_rng(0)
    text = "".join(c + "b" if c in "ae" else c for c in draw.choice(list("ace ."), 6000))
    symbols = vocabulary.encode(text)
    return Planted(model, Dataset("planted", symbols, symbols, symbols[:200], vocabulary, "0"))


def _outputs(model: inn.INN, symbol: int) -> torch.Tensor:
    """What the neurons are after one symbol, `[N, D]`."""
    with inn.record(model, "outputs") as tape:
        model(torch.tensor([[symbol]]))
    assert tape.last_outputs is not None
    return tape.last_outputs[0, 0]
