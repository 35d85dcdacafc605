"""The optimiser and its learning rate over time.

AdamW: Loshchilov & Hutter 2019. Muon: `inn.training.muon`. OneCycle: Smith & Topin 2018, in PyTorch's form.
Cosine: Loshchilov & Hutter 2017.
Warm-up-stable-decay: Hu et al. 2024, with the 1 - sqrt decay of Hägele et al. 2024 (section 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from inn.config.run import TrainConfig
from inn.nn.starting import matrices as matrices_of
from inn.nn.starting import no_decay
from inn.training.muon import Muon

Schedule = Callable[[int], float]


def parameter_groups(model: nn.Module, weight_decay: float, *, matrices: bool = False) -> list[dict[str, Any]]:
    """A model's trainable parameters in two groups for an optimiser of PyTorch, with and without weight decay.

    Biases, norm gains, embeddings, identities and time constants do not decay, whatever their shape: each module says
    which of its own (`inn.nn.starting.no_decay`). With `matrices` those of the rounds (`inn.nn.starting.matrices`) are
    in groups of their own, one for each `form`, as `inn.training.muon.Muon` takes them.

    >>> from inn import INN
    >>> optimizer = torch.optim.AdamW(parameter_groups(INN(vocab=27, neurons=2, width=8, rounds=1), 0.1), lr=1e-2)
    >>> [group["weight_decay"] for group in optimizer.param_groups]
    [0.1, 0.0]
    """
    exempt, forms = no_decay(model), matrices_of(model) if matrices else {}
    groups: dict[Any, list[nn.Parameter]] = {(True, None): [], (False, None): []}
    for name, p in model.named_parameters():
        if p.requires_grad:
            groups.setdefault((name not in exempt, forms.get(p)), []).append(p)
    return [
        {"params": group, "weight_decay": weight_decay if decays else 0.0} | ({"form": form} if form else {})
        for (decays, form), group in groups.items()
        if group
    ]


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over all trainable parameters in two groups, with and without weight decay; or Muon, as `config` says.

    The fused implementation is taken on CPU and CUDA: one pass over memory, and bit-reproducible for equal shapes,
    device and thread count.

    >>> groups = build_optimizer(nn.Linear(2, 3), TrainConfig(weight_decay=0.1)).param_groups
    >>> [(g["weight_decay"], [list(p.shape) for p in g["params"]]) for g in groups]
    [(0.1, [[3, 2]]), (0.0, [[3]])]
    """
    muon = config.optimizer == "muon"
    groups = parameter_groups(model, config.weight_decay, matrices=muon)
    fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
    rest: dict[str, Any] = {"lr": config.lr, "betas": (config.beta1, config.beta2), "fused": fused or None}
    return Muon(groups, momentum=config.momentum, **rest) if muon else torch.optim.AdamW(groups, **rest)


def build_schedule(config: TrainConfig, steps: int) -> Schedule:
    """Return `lr(step)` for steps 0 .. `steps` - 1: a pure function, so a resumed run needs nothing but its step.

    >>> lr = build_schedule(TrainConfig(schedule="wsd", lr=1.0, warmup=0.2, decay=0.5, lr_floor=0.0), 10)
    >>> [round(lr(s), 2) for s in range(10)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.55, 0.37, 0.23, 0.11, 0.0]
    """
    return {"onecycle": _onecycle, "cosine": _cosine, "wsd": _wsd}[config.schedule](config, steps)


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _onecycle(config: TrainConfig, steps: int) -> Schedule:
    """`torch.optim.lr_scheduler.OneCycleLR`: peak / 25 up to the peak, then down to peak / 25e4, both by cosine."""
    first, last = config.lr / 25, config.lr / 25 / 1e4
    top = config.warmup * steps - 1  # PyTorch's convention; not a whole number in general
    end = steps - 1

    def lr(step: int) -> float:
        if step <= top:
            return _cosine_between(first, config.lr, step / top if top > 0 else 1.0)
        return _cosine_between(config.lr, last, (step - top) / (end - top))

    return lr


def _warm(config: TrainConfig, steps: int, then: Schedule) -> Schedule:
    """Rise linearly over the first `warmup` share of the steps (never from zero), then follow `then`."""
    warm = round(config.warmup * steps)
    return lambda step: config.lr * (step + 1) / warm if step < warm else then(step)


def _cosine(config: TrainConfig, steps: int) -> Schedule:
    start = round(config.warmup * steps)
    length = max(1, steps - 1 - start)
    low = config.lr * config.lr_floor
    return _warm(config, steps, lambda step: _cosine_between(config.lr, low, min(1.0, (step - start) / length)))


def _wsd(config: TrainConfig, steps: int) -> Schedule:
    decay = round(config.decay * steps)
    start = steps - decay  # the first decaying step is already below the peak, the last one at the floor
    if not decay:
        return _warm(config, steps, lambda step: config.lr)

    def stable_then_decay(step: int) -> float:
        share = min(1.0, max(0.0, (step - start + 1) / decay))
        return config.lr * (config.lr_floor + (1 - config.lr_floor) * (1 - math.sqrt(share)))

    return _warm(config, steps, stable_then_decay)
