"""Do a model's states come closer to what they have been so far? (S3, reconstructed.)"""

from __future__ import annotations

import torch
from torch import Tensor

from inn.system.errors import InputError

SHUFFLES = 20


def contraction(states: Tensor, seed: int = 0) -> dict[str, float]:
    """Contraction of states towards their own running mean, and the drive across it, beside shuffled time.

    A reconstruction: the preprint (arXiv 2510.16851) speaks of a contraction of activations towards stable patterns and
    of a force that drives them; its formula was not to be had. With h_t the states at unit norm, m_t the mean of h_s,
    s < t, and d_t = h_{t+1} - h_t:

        V_t = ‖h_t - m_t‖²,   contraction = -mean(V_{t+1} - V_t),   drive = mean ‖d_t - its projection on m_t - h_t‖

    The mean of differences telescopes to (V_first - V_last) / their number, so a single text
    says little. A running mean also gets better with every symbol, which alone makes V fall: the control is the same
    states in 20 random orders of time.

    Args:
        states: `[T, F]`, T >= 3.
        seed: of the shuffles.

    Returns:
        `contraction` and `drive`, per symbol, `distance`, the mean of V, and all three as `shuffled_...`.

    >>> still = contraction(torch.ones(10, 4))
    >>> still["contraction"], still["drive"]
    (0.0, 0.0)
    """
    if states.ndim != 2 or len(states) < 3:
        raise InputError(f"contraction needs states [time, width] of 3 symbols or more, not {list(states.shape)}")
    h = torch.nn.functional.normalize(states.double(), dim=-1)
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(h), generator=generator).to(h.device) for _ in range(SHUFFLES)]
    found = _measures(h)
    shuffled = torch.stack([_measures(h[order]) for order in orders]).mean(0)
    names = ("contraction", "drive", "distance")
    return {
        **dict(zip(names, found.tolist())),
        **{f"shuffled_{name}": value for name, value in zip(names, shuffled.tolist())},
    }


def _measures(h: Tensor) -> Tensor:
    past = h.cumsum(0)[:-1] / torch.arange(1, len(h), device=h.device)[:, None]
    to_pattern = past - h[1:]  # m_t - h_t, t = 1 .. T - 1
    V = to_pattern.square().sum(-1)
    step, towards = h[2:] - h[1:-1], to_pattern[:-1]
    along = (step * towards).sum(-1, keepdim=True) / V[:-1, None].clamp_min(torch.finfo(h.dtype).tiny)
    return torch.stack([(V[0] - V[-1]) / (len(V) - 1), (step - along * towards).norm(dim=-1).mean(), V.mean()])
