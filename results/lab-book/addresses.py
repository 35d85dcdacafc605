"""Do addresses settle? Gate `address` alone, without anything to predict, on the symbols of `task:machines`.

Sixty-four starts side by side see the same 400 batches. A start has settled where every neuron has all six steps of one
machine. Run it with this library installed: `python results/lab-book/addresses.py`.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from inn.data.tasks.machines import interleaved

MACHINES, STATES, STARTS, STEPS, WIDTH, SIGNATURE = 6, 6, 64, 400, 48, 16


def entropy(p):
    return torch.special.entr(p).sum(-1)


def settled(balance=4.0, temperature=0.3, start="orthogonal", information=0.3, within="stream"):
    """How many starts have settled."""
    torch.manual_seed(0)
    rng, symbols = np.random.default_rng(0), MACHINES * STATES
    embedding = torch.randn(STARTS, symbols, WIDTH) * 0.02
    key = torch.randn(STARTS, WIDTH, SIGNATURE) * WIDTH**-0.5
    signatures = torch.randn(STARTS, MACHINES, SIGNATURE)
    if start == "orthogonal":
        for own in signatures:
            torch.nn.init.orthogonal_(own)
    scale = torch.full((STARTS, 1, 1), math.log(temperature))
    learned = [t.requires_grad_() for t in (embedding, key, signatures, scale)]
    optimiser = torch.optim.AdamW(learned, betas=(0.9, 0.99), weight_decay=0.0)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = 5e-3 * min(1, (step + 1) / 125)
        machine = interleaved(rng, 64, 32, MACHINES, 1, 2)
        symbol = torch.from_numpy(STATES * machine + rng.integers(0, STATES, machine.shape))
        counts = F.one_hot(symbol, symbols).float().mean(1)  # [streams, symbols]
        fits = F.normalize(embedding @ key, dim=-1) @ F.normalize(signatures, dim=-1).mT
        p = (fits / scale.exp()).softmax(-1)
        of_stream = torch.einsum("bv,svn->sbn", counts, p)
        parts = {"stream": entropy(of_stream).mean(1), "step": entropy(p) @ counts.mean(0), "nothing": 0.0}
        uneven = math.log(MACHINES) - entropy(of_stream.mean(1))
        optimiser.zero_grad()
        (information * (parts[within] + balance * uneven)).sum().backward()
        optimiser.step()
    chosen = fits.argmax(-1).view(STARTS, MACHINES, STATES)
    alike = (chosen == chosen[..., :1]).all(-1).all(-1)
    every = (chosen[..., 0].sort(-1).values == torch.arange(MACHINES)).all(-1)
    return int((alike & every).sum())


if __name__ == "__main__":
    for options in (
        {}, {"balance": 3.0}, {"balance": 2.0}, {"balance": 1.0}, {"information": 0.1}, {"information": 1.0},
        {"start": "random"}, {"temperature": 0.5}, {"temperature": 1.0}, {"temperature": 0.1}, {"within": "step"},
        {"within": "nothing"},
    ):  # fmt: skip
        print(options, settled(**options), "of", STARTS, flush=True)  # noqa: T201
