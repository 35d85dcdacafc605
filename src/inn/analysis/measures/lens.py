"""The logit lens of a neuron: what the model would predict from this neuron alone.

After nostalgebraist 2020 ("interpreting GPT: the logit lens"), which reads a layer through the last norm and head; here
it is one neuron after the last round. Its own output goes, with every other neuron at its average over the text,
through readout, norm, bridge and head. Averages and not zeros, because the way out is not linear: attention in the
readout compares the neurons, and zeros are nothing that they compare. For the same reason the norm divides by the
spread that it finds on average in this text: an averaged population has less of it, and divided by that it would be
blown up into a prediction more certain than any that the model makes. So the lens says what this neuron adds to an
average population, for any readout and head; where both are linear, what all neurons add to the logits is the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.models.inn import INN
from inn.nn.last import LastNorm
from inn.nn.modes import evaluating
from inn.nn.parts import PartsNorm
from inn.ops.norm.reference import EPSILON
from inn.system.errors import InputError

LOUDEST = 0.1
"""Share of the symbols, those where a neuron is loudest, that tell what it pushes up."""
_NUMBERS = 2**24


@dataclass(frozen=True)
class Lens:
    """What one neuron alone would predict.

    Attributes:
        bits: cross-entropy of that prediction, per symbol.
        silent: the same with this neuron at its average too: what is known before any neuron speaks.
        push: `[vocab]` by how much it raises the probability of each symbol where it is loudest, on average; sums to 0.
    """

    bits: float
    silent: float
    push: Tensor

    def top(self, count: int) -> list[tuple[int, float]]:
        """The symbols that it pushes up the most, and by how much."""
        found = self.push.topk(min(count, len(self.push)))
        return list(zip(found.indices.tolist(), found.values.tolist(), strict=True))


@torch.no_grad()
def logit_lens(
    model: INN, outputs: Tensor, targets: Tensor, activity: Tensor, average: Tensor | None = None
) -> list[Lens]:
    """The lens of every neuron.

    Args:
        model: whose readout, norm, bridge and head are used.
        outputs: `[B, T, N, D]` the neurons after the last round (the tape's channel `outputs`).
        targets: `[B, T]` the symbols to predict.
        activity: `[B, T, N]` how loud each neuron is.
        average: `[N, D]` the neurons' average over a text; that of `outputs` when None.

    Raises `InputError` where the shapes do not fit.

    >>> model = INN(vocab=5, neurons=3, width=8, rounds=1, recall="none")
    >>> x, targets = torch.randn(2, 20, 3, 8), torch.randint(5, (2, 20))
    >>> lenses = logit_lens(model, x, targets, x.norm(dim=-1))
    >>> len(lenses), lenses[0].push.shape
    (3, torch.Size([5]))
    """
    if not isinstance(model, INN):
        raise InputError(f"a logit lens is of a model that predicts symbols, not of a {type(model).__name__}")
    if outputs.shape[:2] != targets.shape or outputs.shape[:3] != activity.shape:
        raise InputError(
            f"outputs {list(outputs.shape)}, targets {list(targets.shape)} and activity {list(activity.shape)} are not "
            "of the same symbols and neurons"
        )
    mean = outputs.mean((0, 1)) if average is None else average.to(outputs.dtype)
    x, y = outputs.flatten(0, 1), targets.flatten()  # [S, N, D] and [S]
    loud = activity.flatten(0, 1)
    count = max(1, round(LOUDEST * len(x)))
    size = max(1, _NUMBERS // model.config.vocab)
    lenses = []
    with evaluating(model):
        width = model.config.view_width  # of a readout with several views the last one tells
        spreads = _normed(model.norm, model.graph.readout(outputs)[..., -width:])[1]

        def says(neurons: Tensor) -> Tensor:
            """Log-probabilities `[S, vocab]` of neurons `[S, N, D]`."""
            z = model.graph.readout(neurons[None])[..., -width:]
            return model.head(model.bridge(_normed(model.norm, z, spreads)[0])).float().log_softmax(-1)[0]

        floor = says(mean[None])[0]
        silent = float(F.nll_loss(floor.expand(len(y), -1), y)) / math.log(2)
        for n in range(x.shape[1]):
            loudest = torch.zeros(len(x), dtype=torch.bool, device=x.device)
            loudest[loud[:, n].topk(count).indices] = True
            nats, push = 0.0, torch.zeros_like(floor, dtype=torch.float64)
            for at in range(0, len(x), size):
                alone = mean.expand(len(x[at : at + size]), -1, -1).clone()
                alone[:, n] = x[at : at + size, n]
                said = says(alone)
                nats += float(F.nll_loss(said, y[at : at + size], reduction="sum"))
                push += (said.exp() - floor.exp())[loudest[at : at + size]].sum(0).double()
            lenses.append(Lens(nats / len(x) / math.log(2), silent, (push / count).float().cpu()))
    return lenses


def _normed(norm: Any, z: Tensor, spreads: Sequence[Tensor] = ()) -> tuple[Tensor, list[Tensor]]:
    """What a norm makes of `z` `[..., F]` where it divides by these spreads, one for each of its parts, and those that
    it finds itself on average; without them it divides by these."""
    if isinstance(norm, PartsNorm):
        each = zip(norm.parts, z.split(norm.widths, -1), spreads or [()] * len(norm.parts))
        found = [_normed(one, part, [spread] if isinstance(spread, Tensor) else ()) for one, part, spread in each]
        return torch.cat([y for y, _ in found], -1), [own[0] for _, own in found]
    if isinstance(norm, nn.Identity):
        return z, [z.new_ones(())]
    if isinstance(norm, LastNorm):
        spread = spreads[0] if spreads else norm.moments(z, norm.gains(z))[1].mean()
        return norm(z, variance=spread), [spread]
    centred = isinstance(norm, nn.LayerNorm)  # an RMS norm takes no mean off
    z = z - z.mean(-1, keepdim=True) if centred else z
    spread = spreads[0] if spreads else z.square().mean()
    y = z * torch.rsqrt(spread + EPSILON) * norm.weight
    return (y + norm.bias if centred else y), [spread]
