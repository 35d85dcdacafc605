"""A graph whose neurons do what was planted in them: one fires between quotes, one on digits, one counts to three."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import inn
from inn.analysis.recording.stretches import stretches
from inn.analysis.rules.automaton import Automaton
from inn.analysis.rules.counting import automaton_of
from inn.analysis.rules.explain import explain
from inn.data.vocabulary import Characters

ALPHABET = Characters('ab "012.')
QUOTES, DIGITS, THREE = range(3)
TOLD = {QUOTES: 'inside " "', DIGITS: "last is a digit", THREE: "the number of 'a' so far, modulo 3, is 0"}
"""What a rule for each has to say."""


class Planted(inn.Memory):
    """Neurons that say 1 or 0 in all their numbers, by the symbols that they have read."""

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        return {"count": torch.zeros(batch, self.neurons, 1)}

    def forward(
        self, x: Tensor, state: dict[str, Tensor], *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert reset is None and mask is None  # noqa: PT018
        read = x[:, :, 0].argmax(-1)  # [B, T]: the embedding is a 1 at the symbol's place
        of = {name: int(ALPHABET.encode(name)[0]) for name in ('"', "a", "0")}
        before = state["count"][:, None, :, 0]  # [B, 1, N]
        seen = torch.stack([read == of['"'], torch.zeros_like(read) > 0, read == of["a"]], -1).cumsum(1) + before
        digit = torch.isin(read, torch.from_numpy(ALPHABET.encode("012").astype(np.int64)))
        fires = torch.stack([seen[..., QUOTES] % 2 == 1, digit, seen[..., THREE] % 3 == 0], -1)
        return fires[..., None].to(x.dtype).expand(*fires.shape, x.shape[-1]), {"count": seen[:, -1, :, None].float()}

    def flops(self) -> dict[str, float]:
        return {}


def planted() -> inn.INN:
    """The graph: three neurons, no messages, and an embedding that shows them the symbol."""
    model = inn.INN(
        vocab=ALPHABET.size, neurons=3, width=ALPHABET.size, rounds=1, router="none", recall="none", input="copy"
    )
    model.graph.rounds[0].memory = Planted(model.config)  # type: ignore[union-attr]
    with torch.no_grad():
        model.embedding.weight.copy_(10 * torch.eye(ALPHABET.size))
    return model.eval()


def text(symbols: int, seed: int) -> np.ndarray:
    """Random symbols, some quotes among them."""
    rng = np.random.default_rng(seed)
    chances = np.where(np.arange(ALPHABET.size) == ALPHABET.encode('"')[0], 0.06, 1.0)
    return rng.choice(ALPHABET.size, symbols, p=chances / chances.sum())


def planted_again(seed: int, symbols: int) -> dict[str, Any]:
    """Rules and automata of the planted neurons, beside what was planted (for `Lab.compute`)."""
    model = planted()
    first, second = (stretches(text(symbols, seed + i), symbols // 2) for i in (0, 1))
    found = explain(model, first, second, ALPHABET, seed=seed)
    rows = []
    for n, rule in enumerate(found.rules):
        said = next(
            words for _, words, share in found.lines(rule) if share == max(s for *_, s in found.lines(rule) if s)
        )
        learned = automaton_of(model, ALPHABET, (n, 0), seed=seed)
        rows.append(
            {
                "planted": TOLD[n],
                "said": said,
                "fidelity": rule.fidelity,
                "shuffled": rule.shuffled,
                "leaves": rule.size,
                "states": learned.states,
                "exact": learned.same_as(_true(n)),
            }
        )
    return {"rows": rows}


def _true(neuron: int) -> Automaton:
    """The automaton that was planted."""
    states = (2, 1, 3)[neuron]
    counted, digits = ('"', "", "a")[neuron], ALPHABET.encode("012").tolist()
    names = [ALPHABET.symbol(i) for i in range(ALPHABET.size)]
    following = np.repeat(np.arange(states)[:, None], ALPHABET.size, 1)
    if counted:
        following[:, int(ALPHABET.encode(counted)[0])] = (np.arange(states) + 1) % states
    fires = {QUOTES: following == 1, DIGITS: np.isin(np.arange(ALPHABET.size), digits)[None], THREE: following == 0}
    return Automaton(following, fires[neuron].astype(np.int64), tuple(names), ("rests", "fires"))
