"""How many neurons a population amounts to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inn.analysis.measures.similarity import cka
from inn.analysis.recording.record import record
from inn.models.sequence import SequenceModel
from inn.nn.graph import Graph
from inn.nn.modes import evaluating


def effective_neurons(outputs: Tensor) -> float:
    """Effective size of a population: (Σλ)² / Σλ² of the eigenvalues of the neurons' linear-CKA matrix.

    1 = all alike, N = all unrelated (see `inn.analysis.cka`). A neuron that never changes is unlike every other.

    Args:
        outputs: `[B, T, N, D]`, at least two steps in all; more than 4096 are thinned out evenly.

    >>> x = torch.randn(1, 100, 1, 8)
    >>> round(effective_neurons(x.expand(1, 100, 4, 8)), 4)
    1.0
    """
    similar = cka(outputs, outputs)
    similar.fill_diagonal_(1.0)
    # Σλ is the trace, N, and Σλ² the squared Frobenius norm: no decomposition needed.
    return (similar.trace() ** 2 / similar.square().sum()).item()


@torch.no_grad()
def measure_effective_neurons(model: SequenceModel, tokens: Tensor, **told: Any) -> float | None:
    """Effective neurons on `tokens` `[B, T]`, from a fresh state, without dropout; None without a population.

    `told` is what the model is given beside the symbols.
    """
    graphs = [m for m in model.modules() if isinstance(m, Graph)]
    if not graphs or graphs[0].config.neurons == 1:
        return None
    with evaluating(model), record(model, "outputs") as tape:
        model(tokens, **told)
    assert tape.last_outputs is not None
    return effective_neurons(tape.last_outputs)
