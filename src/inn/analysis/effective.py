"""How many neurons a population amounts to."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.analysis.record import record
from inn.evaluation import evaluating
from inn.graph import Graph
from inn.sequence import SequenceModel

_SAMPLES = 4096


def effective_neurons(outputs: Tensor) -> float:
    """Effective size of a population: (Σλ)² / Σλ² of the eigenvalues of the neurons' linear-CKA matrix.

    CKA (Kornblith et al. 2019) compares what two neurons say over time, centred, blind to each one's own basis;
    1 = all alike, N = all unrelated. A neuron that never changes is unlike every other.

    Args:
        outputs: `[B, T, N, D]`, at least two steps in all; more than 4096 are thinned out evenly.

    >>> x = torch.randn(1, 100, 1, 8)
    >>> round(effective_neurons(x.expand(1, 100, 4, 8)), 4)
    1.0
    """
    x = outputs.detach().flatten(0, 1).double()
    x = x[:: -(-x.shape[0] // _SAMPLES)].transpose(0, 1)  # [N, samples, D]
    x = x - x.mean(1, keepdim=True)
    neurons, samples, width = x.shape
    if samples < width:  # compare in the smaller space: samples x samples, or width x width
        gram = (x @ x.transpose(1, 2)).flatten(1)
        similar = gram @ gram.T
    else:
        similar = torch.stack([(x[n].T @ x).square().sum((1, 2)) for n in range(neurons)])
    scale = similar.diagonal().clamp_min(0).sqrt()
    alive = scale > 1e-12 * scale.max().clamp_min(1e-300)
    scale = torch.where(alive, scale, torch.inf)
    cka = similar / scale[:, None] / scale[None, :]
    cka.fill_diagonal_(1.0)
    # Σλ is the trace, N, and Σλ² the squared Frobenius norm: no decomposition needed.
    return (cka.trace() ** 2 / cka.square().sum()).item()


@torch.no_grad()
def measure_effective_neurons(model: SequenceModel, tokens: Tensor) -> float | None:
    """Effective neurons on `tokens` `[B, T]`, from a fresh state, without dropout; None without a population."""
    graphs = [m for m in model.modules() if isinstance(m, Graph)]
    if not graphs or graphs[0].config.neurons == 1:
        return None
    with evaluating(model), record(model, "outputs") as tape:
        model(tokens)
    assert tape.last_outputs is not None
    return effective_neurons(tape.last_outputs)
