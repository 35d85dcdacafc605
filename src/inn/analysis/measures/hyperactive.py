"""Neurons that answer whatever comes: too active on reference input to tell anything apart (arXiv 2209.08723)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from inn.config.typed import typed
from inn.nn.tape import Tape
from inn.system.errors import InputError


@typed
def hyperactive(responses: Tape | Tensor | np.ndarray, above: float) -> list[int]:
    """The neurons whose summed response to reference input is at least `above` times the average neuron's.

    What they say tells little about what is read. The list is for `silenced`, or for `keep` the others.

    Args:
        responses: a tape that recorded "activity" while the model read the reference, or responses `[..., N]` >= 0,
            spikes say.
        above: in units of the average neuron, as in `Connectivity.hubs`.

    Raises:
        InputError: for a tape without activity, responses that are negative or not finite, and `above` not over 0.

    >>> hyperactive(torch.tensor([[1.0, 0.0, 9.0], [0.0, 2.0, 9.0]]), above=2.0)
    [2]
    """
    if not 0 < above < math.inf:
        raise InputError(f"above must be over 0, in units of the average neuron's response, not {above}")
    if isinstance(responses, Tape):
        responses = responses.mean("activity")
    summed = torch.as_tensor(responses).detach().cpu().double()
    if not summed.ndim or not summed.isfinite().all() or bool((summed < 0).any()):
        raise InputError("hyperactive needs responses [..., neurons] that are finite and not below 0; these are not")
    summed = summed.reshape(-1, summed.shape[-1]).sum(0)
    return (summed >= above * summed.mean().clamp_min(torch.finfo(summed.dtype).tiny)).nonzero().flatten().tolist()
