"""An optimiser's moments as those of a model that surgery made: found by what happens to numbers that are marked."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inn.models.names import filed


@dataclass
class Moments:
    """What an optimiser knows of a run's model.

    Attributes:
        tensors: `parameter/moment` by names in files, as a checkpoint keeps them; a scalar `step` for each parameter.
        betas: the rates at which the first and the second moment forget.
    """

    tensors: Mapping[str, Tensor]
    betas: tuple[float, float] = (0.9, 0.99)


@torch.no_grad()
def carried_moments(
    operation: Callable[..., Any], models: Sequence[Any], made: Any, known: Sequence[Moments]
) -> tuple[dict[str, Tensor], float]:
    """The moments of `made`, which `operation` made of `models`, of theirs: those of each number that was moved; and
    which share of its numbers has some.

    The operation is done again on copies in which every weight is a mark, and each mark is looked for in the result.
    So a number keeps its moments wherever it goes; one that is new or computed anew has none, which are zeros, or no
    entry where a whole parameter is so. A parameter goes on from the most steps of those it was put together of, and
    the moments of others are scaled, so that they are the same without their bias (Muon, which heeds no scale, needs
    none). A parameter of numbers that had other moments (AdamW's and Muon's) has none. Where an organ's weights are
    the first model's at the same place, its moments stay.

    >>> from inn import INN, keep
    >>> model = INN(vocab=5, neurons=3, width=4, rounds=1, recall="none")
    >>> known = {f"{filed(n)}/exp_avg": p.detach() for n, p in model.named_parameters()}
    >>> own = Moments(known | {f"{filed(n)}/step": torch.tensor(9.0) for n, _ in model.named_parameters()})
    >>> found, share = carried_moments(lambda m: keep(m, [1]), [model], keep(model, [1]), [own])
    >>> found["graph.rounds.0.memory.D/exp_avg"].shape, 0.5 < share < 1
    (torch.Size([1, 8]), True)
    """
    draw = torch.Generator().manual_seed(0)
    copies, marks, parts, begins, kinds = [], [], [], {}, []
    for model, own in zip(models, known, strict=True):
        having = _kinds(own)
        copies.append(marked := copy.deepcopy(model, _left_out(model)).double())
        for name, p in marked.named_parameters():
            p.copy_(1 + torch.rand(p.shape, generator=draw, dtype=torch.float64))
            begins.setdefault(name, sum(map(len, marks)))
            marks.append(p.flatten())
            parts.append((filed(name), own))
            kinds.append(having.get(filed(name), set()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        new = operation(*copies)
    every, order = torch.cat(marks).sort()
    owner = torch.repeat_interleave(torch.arange(len(marks)), torch.tensor([len(m) for m in marks]))
    values = {
        k: torch.cat([_flat(own, name, k, len(m)) for (name, own), m in zip(parts, marks)])
        for k in sorted(set().union(*kinds))
    }
    steps = torch.tensor([float(own.tensors.get(f"{name}/step", 0.0)) for name, own in parts])
    first, now, result, count = dict(models[0].named_parameters()), dict(made.named_parameters()), {}, 0
    for name, p in new.named_parameters():
        if name not in now or now[name].shape != p.shape:
            continue
        at = torch.searchsorted(every, p.flatten()).clamp_max(len(every) - 1)
        there, at = every[at] == p.flatten(), order[at]
        if (was := first.get(name)) is not None and was.shape == p.shape:  # an organ's, and as it was
            same = (was == now[name]).cpu().flatten() & ~there
            at, there = torch.where(same, begins[name] + torch.arange(len(at)), at), there | same
        there &= steps[owner[at]] > 0
        if not bool(there.any()):
            continue
        of = owner[at]
        same_kinds, *others = (kinds[i] for i in of[there].unique().tolist())
        if any(one != same_kinds for one in others):
            continue
        count += int(there.sum())
        step = steps[of[there]].max()
        result[f"{filed(name)}/step"] = step.clone()
        for kind in sorted(same_kinds):
            moment = values[kind][at] * there
            if "exp" in kind and bool((steps[of[there]] != step).any()):
                moment = moment * torch.tensor([_bias(known[0], kind, step) / _bias(own, kind, s) if s else 0.0
                                                for s, (_, own) in zip(steps, parts)])[of]  # fmt: skip
            result[f"{filed(name)}/{kind}"] = moment.view(p.shape).to(values[kind].dtype)
    return result, count / sum(p.numel() for p in now.values())


def _kinds(own: Moments) -> dict[str, set[str]]:
    """Which moments each parameter has: AdamW's two, or Muon's one."""
    found: dict[str, set[str]] = {}
    for name, t in own.tensors.items():
        if t.ndim:
            found.setdefault(name.rpartition("/")[0], set()).add(name.rpartition("/")[2])
    return found


def _bias(own: Moments, kind: str, step: Tensor) -> float:
    """What a moment is too small by after so many steps from zero on."""
    return 1.0 - own.betas[1 if "sq" in kind else 0] ** float(step)


def _flat(own: Moments, name: str, kind: str, size: int) -> Tensor:
    found = own.tensors.get(f"{name}/{kind}")
    return torch.zeros(size) if found is None else found.cpu().flatten()


def _left_out(model: Any) -> dict[int, Any]:
    """What a copy of a model need not have copies of."""
    own = (getattr(model, "vocabulary", None), getattr(model, "experience", None))
    return {id(one): one for one in own if one is not None}
