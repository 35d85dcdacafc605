"""Which part of a model answers: descriptors of what its organs know, and the choice of the one that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig

RECORD = 500
"""Errors that a descriptor remembers of what it was made of."""
NAMES = ("center", "scale", "directions", "offset", "record")
"""What a descriptor is."""
_CHUNK = 256
Parts = dict[str, Tensor]


def organs_on(config: GraphConfig) -> Tensor:
    """Who counts when no organ answers, and when each of the K - 1 does: `[K, R]`, 1 for those that do."""
    organs = config.readout.organs
    named = {n for organ in organs for n in organ}
    return torch.tensor([[float(n not in named or n in organ) for n in config.read] for organ in [[], *organs]])


def base_places(config: GraphConfig) -> list[int]:
    """Where the neurons that are of no organ stand among those that are read."""
    named = {n for organ in getattr(config.readout, "organs", []) for n in organ}
    return [i for i, n in enumerate(config.read) if n not in named]


class Descriptors(nn.Module):
    """Knows what is read by which of its descriptors finds it likely, and says which neurons answer.

    What the neurons of no organ hold after the last round, F numbers, is what descriptors look at; organs do not change
    it. Each of K descriptors is a Gaussian of `rank` principal directions and one variance in all others (probabilistic
    principal components), made of what it is to know. Its error is the negative log-likelihood over F. The descriptor
    with the smallest mean over the last `span` steps fits, and its organ answers. After *SEMA*, arXiv 2403.18886, which
    has auto-encoders in their place, and their error of reconstruction.

    Args:
        config: of the graph, with organs.
        together: whether all streams of a call are of one kind, and choose together by the mean of theirs; each for
            itself otherwise.

    Attributes:
        center, scale, directions, offset: `[K, F]`, `[K, F]`, `[K, rank, F]`, `[K]`: z = (x - center) / scale, and the
            error is (|z|² - |directions z|²) / 2F + offset.
        record: `[K, RECORD]` mean errors of each on stretches, or sequences, of what it knows.
        forced: the descriptor whose organ answers whatever is read, as in training; None: the one that fits.
    """

    center: Tensor
    scale: Tensor
    directions: Tensor
    offset: Tensor
    record: Tensor
    places: Tensor
    on: Tensor
    forced: int | None = None

    def __init__(self, config: GraphConfig, together: bool):
        super().__init__()
        own = config.readout
        self.config, self.together, self.width, self.span = config, together, config.width, own.span
        self.count, features = len(own.organs) + 1, len(base_places(config)) * config.width
        shapes = ((features,), (features,), (max(1, min(own.rank, features - 1)), features), (), (RECORD,))
        for name, shape in zip(NAMES, shapes):
            self.register_buffer(name, torch.empty(self.count, *shape))
        self.register_buffer("places", torch.tensor(base_places(config)))
        self.register_buffer("on", organs_on(config))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        for name in NAMES:
            getattr(self, name).fill_(1.0 if name == "scale" else 0.0)
        self.places.copy_(torch.tensor(base_places(self.config)))
        self.on.copy_(organs_on(self.config))

    def forward(self, x: Tensor, state: Parts, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Parts]:
        """Who counts at each step, `[B, T, R]`, and the state after the last.

        Args:
            x: `[B, T, R x D]` the neurons that are read.
            state: `error` `[B, 1, K]` and `weight` `[B, 1, 1]`: errors so far, the last ones counting most.
            reset, mask: as in `SequenceModel.forward`.
        """
        each = x.detach().unflatten(-1, (-1, self.width))[:, :, self.places].flatten(2)
        total, weight, kept = faded(self.errors(each), state["error"], state["weight"], self.span, reset, mask)
        if self.forced is not None:
            return self.on[self.forced].expand(*x.shape[:2], -1), kept
        mean = total / weight.clamp_min(1e-6)
        mean = mean.mean(0, keepdim=True).expand_as(mean) if self.together else mean
        return self.on[mean.argmin(-1)], kept

    def errors(self, x: Tensor) -> Tensor:
        """The error of every descriptor at each step, `[..., K]`, of what it looks at, `[..., F]`."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        own = (t.to(x.dtype) for t in (self.center, self.scale, self.directions, self.offset))
        return torch.stack([error(x, *one) for one in zip(*own)], -1)

    def initial_state(self, batch: int) -> Parts:
        """Nothing read yet."""
        like = self.offset.new_zeros((), dtype=torch.promote_types(self.offset.dtype, torch.float32))
        return {name: like.new_zeros(batch, 1, n) for name, n in (("error", self.count), ("weight", 1))}

    @torch.no_grad()
    def put(self, k: int, **found: Tensor) -> None:
        """Make descriptor k what was found, by the names of the attributes (`inn.surgery.novelty`)."""
        for name in NAMES:
            getattr(self, name)[k] = found[name]

    def flops(self) -> dict[str, float]:
        """Forward FLOPs for one step, by part."""
        return {"descriptors": 2.0 * self.directions.numel()}


def error(x: Tensor, center: Tensor, scale: Tensor, directions: Tensor, offset: Tensor) -> Tensor:
    """The error of a descriptor at what it looks at, `[..., F]`: `[...]`."""
    z = (x - center) / scale
    return (z.square().sum(-1) - (z @ directions.T).square().sum(-1)) / (2 * x.shape[-1]) + offset


def faded(
    e: Tensor, total: Tensor, weight: Tensor, span: int, reset: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Parts]:
    """Sums that fade, S ← a S + e and W ← a W + 1 with a = exp(-1 / span): `[B, T, K]` and `[B, T, 1]`.

    Args:
        e: `[B, T, K]`.
        total, weight: `[B, 1, K]` and `[B, 1, 1]`, the sums before.
        reset: `[B, T]`, both are zero before these steps.
        mask: `[B, T]`, where false nothing happens.

    >>> faded(torch.tensor([[[1.0], [3.0]]]), torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), 1, None, None)[0].flatten()
    tensor([1.0000, 3.3679])
    """
    totals, weights = [], []
    e = torch.cat((e, torch.ones_like(e[..., :1])), -1)
    before = torch.cat((total, weight), -1).to(e.dtype)
    for at in range(0, e.shape[1], _CHUNK):
        part = slice(at, at + _CHUNK)
        own, steps = e[:, part], torch.arange(1, e[:, part].shape[1] + 1, device=e.device)
        n = steps[None] if mask is None else mask[:, part].long().cumsum(1)  # [B, t] steps that count, so far
        n = n.to(e.dtype)
        fade = torch.exp((n[:, None] - n[:, :, None]).clamp_max(0) / span)  # [B, t, s]
        fade = fade * (steps[:, None] >= steps)
        first = torch.exp(-n / span)[..., None]
        if mask is not None:
            fade = fade * mask[:, part][:, None]
        if reset is not None:
            begun = torch.where(reset[:, part], steps, 0).cummax(1).values  # [B, t]
            fade, first = fade * (steps >= begun[..., None]), first * (begun == 0)[..., None]
        found = fade @ own + first * before
        before = found[:, -1:]
        totals.append(found[..., :-1])
        weights.append(found[..., -1:])
    total, weight = torch.cat(totals, 1), torch.cat(weights, 1)
    return total, weight, {"error": total[:, -1:], "weight": weight[:, -1:]}
