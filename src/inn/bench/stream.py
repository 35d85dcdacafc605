"""One symbol at a time: a step costs the same wherever in the text it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from inn.bench.measure import Effort, Times, in_turns
from inn.bench.rows import Measured
from inn.bench.steps import VOCAB
from inn.config import model_config
from inn.models import build_model
from inn.sequence import SequenceModel
from inn.state import State

MANY = Effort(rounds=40, most=100, sample=0.05)
"""A difference of a few percent is to be told from noise."""


@dataclass(frozen=True)
class StreamSize:
    """A model, and the two positions at which a step is timed."""

    near: int = 10
    far: int = 100_000
    chunk: int = 2048
    model: dict[str, Any] = field(default_factory=dict)


def step_flat(size: StreamSize = StreamSize(), effort: Effort = MANY) -> Measured:
    """`model.step` from the state after 10 symbols and from the state after 100,000, in turns; batch 1."""
    torch.manual_seed(0)
    model = build_model(model_config("inn", vocab=VOCAB, **size.model)).eval()
    with torch.inference_mode():
        tokens = torch.randint(VOCAB, (1, size.far))
        near, far = (read(model, tokens[:, :n], size.chunk) for n in (size.near, size.far))
        symbol = tokens[:, 0]
        times = in_turns({"near": lambda: model.step(symbol, near), "far": lambda: model.step(symbol, far)}, effort)
    c = model.config
    return Measured(
        times["far"].median / times["near"].median,
        "float32",
        f"N {c.neurons}, D {c.width}, {c.rounds} rounds, {model.num_parameters:,} parameters, B 1",
        {
            "seconds": {
                f"position {size.near}": quartiles(times["near"]),
                f"position {size.far}": quartiles(times["far"]),
            },
            "state_bytes": {"near": near.bytes, "far": far.bytes},
        },
    )


def read(model: SequenceModel, tokens: torch.Tensor, chunk: int) -> State:
    """The state after `tokens` `[1, T]`, read in chunks."""
    state = model.initial_state(1)
    for part in tokens.split(chunk, dim=1):
        _, state = model(part, state)
    return state


def quartiles(times: Times) -> dict[str, float]:
    """Median and spread, with the middle half of the readings beside them."""
    low, _, high = (
        torch.tensor(times.samples, dtype=torch.float64)
        .quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
        .tolist()
    )
    return {**times.to_dict(), "quartile_1": low, "quartile_3": high}
