"""Which few weights of a trained model compute a given thing, and whether that could have been otherwise.

After *Bigram Subnetworks* (arXiv 2504.15471). The weights stay as they are; each has a mask σ(β s) that is learned,
with β rising until masks are 0 or 1. What is scored is the rounded mask, which is another network than the soft one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from inn.analysis.controls.untrained import untrained
from inn.analysis.mechanisms.targets import Target
from inn.nn.graph import Graph
from inn.nn.modes import device_of, evaluating, learns
from inn.nn.starting import no_decay
from inn.system.errors import InputError
from inn.system.report import Report, nobody

STEPS, RATE, SHARPER = 350, 0.05, 1.012
"""Steps of the search; the rate of Adam; by what β rises at each step."""
ROWS, LENGTH = 8, 64
"""Stretches of the text that a step reads, and their symbols."""
HELD = 8
"""One in so many symbols of the text, the last of it, is for the scores, and nothing else."""
SCORED = 128
"""Stretches that are scored, at most."""
PRESSURE = 0.1
"""How fast the price of a weight follows the share that is kept."""

Masks = dict[str, Tensor]


@dataclass(frozen=True)
class Subnetwork:
    """A part of a model, what it tells, and the controls. Losses are in nats above the target's own entropy.

    All are of a stretch of the text that the search did not read. `keep` of `subnetwork` bounds `kept` from above.

    Attributes:
        target: its name.
        entropy: of the target, in nats: what it is unsure of by itself.
        kept: share of the weights that could be masked.
        loss: of the part alone: the divergence KL(target ‖ part).
        full: of the whole model.
        random: of as many weights of each tensor, drawn at random.
        largest: of as many weights in all, the largest by absolute value.
        untrained: of a part that the same search found in the model as it was before it learned anything.
        whole: bits per symbol of the model as it is, on the text.
        ablated: bits per symbol without the part.
        ablated_random: bits per symbol without as many weights of each tensor, drawn at random.
        by_part: parameter -> share of its weights that are kept.
        masks: parameter -> bool, which of its weights are kept.
    """

    target: str
    entropy: float
    kept: float
    loss: float
    full: float
    random: float
    largest: float
    untrained: float
    whole: float
    ablated: float
    ablated_random: float
    by_part: dict[str, float]
    masks: Masks = field(repr=False)

    @contextmanager
    def alone(self, model: nn.Module) -> Iterator[None]:
        """Let the model be this part alone while the `with` block runs: other maskable weights are 0."""
        with masked(model, self.masks):
            yield

    @contextmanager
    def without(self, model: nn.Module) -> Iterator[None]:
        """Let the model be all but this part while the `with` block runs."""
        with masked(model, {name: ~mask for name, mask in self.masks.items()}):
            yield

    def to_dict(self) -> dict[str, Any]:
        """All but the masks, as plain data."""
        return {name: value for name, value in vars(self).items() if name != "masks"}


def maskable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of a model that a part may be made of: matrices and convolutions, by parameter name.

    Of a graph of neurons those of its rounds. Embeddings, the head, norms, biases and time constants are not of them.

    >>> from inn import INN
    >>> sum(p.numel() for p in maskable(INN(vocab=28, neurons=4, width=24, rounds=2)).values())
    98304
    """
    graphs = [module for module in model.modules() if isinstance(module, Graph)]
    inside = {id(p) for of in graphs or [model] for p in of.parameters()}
    outer = [getattr(model, "head", None), getattr(model, "get_output_embeddings", lambda: None)()]
    outer += [module for module in model.modules() if isinstance(module, nn.Embedding)]
    inside -= {id(p) for module in outer if module is not None for p in module.parameters()}
    exempt, found = no_decay(model), {}
    for at, module in model.named_modules():
        for name, p in module.named_parameters(recurse=False):
            path = f"{at}.{name}".lstrip(".")
            matrix = "weight" in name or name in getattr(module, "matrix_weights", ())
            if p.ndim > 1 and id(p) in inside and path not in exempt and matrix:
                found[path] = p
    return found


@contextmanager
def masked(model: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Set the weights of a model to zero where a mask is 0, while the `with` block runs.

    Args:
        masks: parameter -> `[...]` of its shape, bool or of 0 and 1; what is not named stays.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> with masked(layer, {"weight": torch.tensor([[True, False]])}):
    ...     layer(torch.tensor([0.0, 1.0])).tolist()
    [0.0]
    """
    kept = {name: model.get_parameter(name).detach().clone() for name in masks}
    try:
        with torch.no_grad():
            for name, mask in masks.items():
                model.get_parameter(name).mul_(mask.to(kept[name]))
        yield
    finally:
        with torch.no_grad():
            for name, weight in kept.items():
                model.get_parameter(name).copy_(weight)


@learns
def subnetwork(
    model: nn.Module,
    *,
    target: Target,
    keep: float = 0.05,
    steps: int = STEPS,
    seed: int = 0,
    report: Report = nobody,
) -> Subnetwork:
    """Find the few weights of a model that tell a target by themselves, and everything needed to doubt it.

    Masks minimise the cross-entropy of the masked model to the target and a price on each weight that is kept, which
    rises while more than `keep` are. The same search in an untrained model is a control, since a mask can compute by
    itself: it takes as long again.

    Args:
        model: a model of symbols (`inn.SequenceModel`, or a causal model of Hugging Face); it stays as it is.
        target: what the part is to tell, `inn.analysis.bigram(text)` for one.
        keep: the share of the weights that may stay, at most.
        steps: of the search.
        seed: of the stretches that are read, and of the controls.
        report: told of the steps.

    Raises `InputError` for a model without such weights (an n-gram), a target over other symbols, a share that is not
    between 0 and 1, and fewer than one step.

    >>> from inn import INN
    >>> from inn.analysis import bigram
    >>> model = INN(vocab=3, neurons=2, width=4, rounds=1, recall="none")
    >>> found = subnetwork(model, target=bigram(torch.arange(300) % 3), keep=0.5, steps=4)
    >>> found.kept <= 0.5
    True
    """
    if not 0 < keep < 1:
        raise InputError(f"keep is a share of the weights, between 0 and 1, not {keep}")
    if steps < 1:
        raise InputError(f"steps must be at least 1, not {steps}")
    weights = maskable(model)
    if not weights:
        raise InputError("the model has no matrix that a mask could stand on; give a network, such as an INN")
    vocab = getattr(model.config, "vocab_size", None) or getattr(model.config, "vocab", None)
    if target.vocab != vocab:
        raise InputError(f"the target is over {target.vocab} symbols and the model reads {vocab}; give the text as the "
                         f"model reads it, and vocab={vocab}")  # fmt: skip
    fresh = untrained(model, seed)
    with evaluating(model), evaluating(fresh):
        masks = _search(model, target, keep, steps, seed, _half(report, steps, 0))
        theirs = _search(fresh, target, keep, steps, seed, _half(report, steps, steps))
        return _scored(model, fresh, target, masks, theirs, seed)


def _half(report: Report, steps: int, before: int) -> Any:
    return lambda step: report("searching for a part", before + step, 2 * steps)


def _search(model: nn.Module, target: Target, keep: float, steps: int, seed: int, done: Any) -> Masks:
    """The rounded masks, of at most `keep` of the weights."""
    draw = torch.Generator().manual_seed(seed)
    weights = {name: p.detach() for name, p in maskable(model).items()}
    fixed = {n: t.detach() for n, t in model.named_parameters() if n not in weights}
    scores = {name: torch.zeros_like(p, requires_grad=True) for name, p in weights.items()}
    total = sum(p.numel() for p in weights.values())
    optimizer = torch.optim.Adam(scores.values(), RATE)
    reading = target.symbols[: len(target.symbols) - len(target.symbols) // HELD]
    sharpness, price = 1.0, 1.0
    for step in range(steps):
        tokens = _rows(reading, ROWS, draw).to(device_of(model))
        soft = {name: (sharpness * s).sigmoid() for name, s in scores.items()}
        share = torch.stack([m.sum() for m in soft.values()]).sum() / total
        logits = _logits(functional_call(model, fixed | {n: weights[n] * m for n, m in soft.items()}, (tokens,)))
        loss = _divergence(logits, target.chances(tokens))[0].mean() + price * share
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        wanted = 0.5 * (2 * keep) ** min(1.0, 2 * (step + 1) / steps)  # from all half open to `keep`, half way
        price *= (float(share.detach()) / wanted) ** PRESSURE
        sharpness *= SHARPER
        done(step + 1)
    flat = torch.cat([s.detach().flatten() for s in scores.values()])
    best = flat.topk(int(keep * total))
    open_ = torch.zeros_like(flat, dtype=torch.bool)
    open_[best.indices] = best.values > 0
    parts = open_.split([s.numel() for s in scores.values()])
    return {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}


def _scored(model: nn.Module, fresh: nn.Module, target: Target, masks: Masks, theirs: Masks, seed: int) -> Subnetwork:
    """All scores, on stretches that the search did not read."""
    draw = torch.Generator().manual_seed(seed)
    held = target.symbols[len(target.symbols) - len(target.symbols) // HELD :]
    rows = _rows(held, min(SCORED, max(1, len(held) // LENGTH)), draw, after=1)
    chance = {name: _shuffled(mask, draw) for name, mask in masks.items()}
    weights = maskable(model)
    count = sum(int(mask.sum()) for mask in masks.values())
    sizes = torch.cat([p.detach().abs().flatten() for p in weights.values()])
    least = sizes.topk(max(1, count)).values[-1]
    large = {name: p.detach().abs() >= least for name, p in weights.items()}

    def scores(of: nn.Module, kept: Masks) -> tuple[float, float, float]:
        with masked(of, kept):
            return _told(of, target, rows)

    loss, entropy, _ = scores(model, masks)
    full, _, whole = scores(model, {})
    return Subnetwork(
        target=target.name,
        entropy=entropy,
        kept=count / len(sizes),
        loss=loss,
        full=full,
        random=scores(model, chance)[0],
        largest=scores(model, large)[0],
        untrained=scores(fresh, theirs)[0],
        whole=whole,
        ablated=scores(model, {name: ~mask for name, mask in masks.items()})[2],
        ablated_random=scores(model, {name: ~mask for name, mask in chance.items()})[2],
        by_part={name: float(mask.float().mean()) for name, mask in masks.items()},
        masks=masks,
    )


@torch.no_grad()
def _told(model: nn.Module, target: Target, rows: Tensor) -> tuple[float, float, float]:
    """Divergence from the target and its entropy in nats, and bits per symbol of the text, over these rows."""
    apart, unsure, nats = [], [], []
    for part in rows.to(device_of(model)).split(ROWS):
        logits = _logits(model(part[:, :-1]))
        divergence, entropy = _divergence(logits, target.chances(part[:, :-1]))
        apart.append(divergence)
        unsure.append(entropy)
        nats.append(F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="none"))
    apart, unsure, nats = (float(torch.cat([v.flatten() for v in values]).double().mean())
                           for values in (apart, unsure, nats))  # fmt: skip
    return apart, unsure, nats / math.log(2)


def _divergence(logits: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
    """KL(target ‖ told) and the entropy of the target, `[B, T]` each, in nats."""
    entropy = -torch.special.xlogy(chances, chances).sum(-1)
    return -(chances * logits.log_softmax(-1)).sum(-1) - entropy, entropy


def _logits(told: Any) -> Tensor:
    """What a model told: `(logits, state)`, or an output of `transformers`."""
    return (told.logits if hasattr(told, "logits") else told[0]).float()


def _rows(text: Tensor, count: int, draw: torch.Generator, after: int = 0) -> Tensor:
    """Stretches of a text, `[count, LENGTH + after]`, drawn at random; shorter ones of a short text."""
    length = min(LENGTH + after, len(text))
    starts = torch.randint(len(text) - length + 1, (count,), generator=draw)
    return text[starts[:, None] + torch.arange(length)]


def _shuffled(mask: Tensor, draw: torch.Generator) -> Tensor:
    """As many of the tensor's weights, others."""
    order = torch.randperm(mask.numel(), generator=draw).to(mask.device)
    return mask.flatten()[order].view_as(mask)
