"""22: networks that are narrow inside and wide outside, at taking the noise off images of digits."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.assemble import graph_config
from inn.nn.inner.hourglass import Hourglass
from inn.system.errors import InputError
from inn_studies.family.entry import Criterion, Entry, mean, row
from inn_studies.family.fitting import fit, swept
from inn_studies.lab import Lab

PIXELS, TRAIN, VALID, NOISE = 64, 1200, 200, 0.3
LIFT, HIDDEN, BLOCKS = 3, 20, 2
BEHIND = 0.3
RATES = (1e-3, 3e-3, 1e-2)
OURS, FROZEN, USUAL, AS_IT_IS = "hourglass", "hourglass, frozen lift", "conventional", "the noisy image"
SCORE = "test"


class Conventional(nn.Module):
    """Residual blocks that are wide inside, between narrow ends: as many parameters and blocks."""

    def __init__(self, hidden: int):
        super().__init__()
        self.widen = nn.ModuleList(nn.Linear(PIXELS, hidden) for _ in range(BLOCKS))
        self.narrow = nn.ModuleList(nn.Linear(hidden, PIXELS, bias=False) for _ in range(BLOCKS))

    def forward(self, x: Tensor) -> Tensor:
        for widen, narrow in zip(self.widen, self.narrow):
            x = x + narrow(F.gelu(widen(x)))
        return x


def built(label: str) -> tuple[nn.Module, float]:
    """A network of this row, `[1, S, 1, 64]` -> the same, and its FLOPs for one image."""
    options = {"lift": LIFT, "hidden": HIDDEN, "blocks": BLOCKS, "frozen": label == FROZEN}
    ours = Hourglass(graph_config(neurons=1, width=PIXELS, inner="hourglass", inner_options=options))
    if label != USUAL:
        return ours, sum(ours.flops().values())
    hidden = round((_size(ours) / BLOCKS) / (2 * PIXELS + 1))
    return Conventional(hidden), 4.0 * BLOCKS * PIXELS * hidden


def images() -> Tensor:
    """scikit-learn's digits in a fixed order, `[1, 1797, 1, 64]` from 0 to 1."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError("the digits come with scikit-learn, which is not here; pip install scikit-learn") from None
    digits: Any = load_digits()
    found = torch.from_numpy(digits.data).float() / 16
    return found[torch.randperm(len(found), generator=torch.Generator().manual_seed(0))][None, :, None]


def decibels(found: Tensor, clean: Tensor) -> float:
    """Peak signal to noise, of images from 0 to 1."""
    return -10 * math.log10(float((found - clean).square().mean()))


def denoise(label: str, lr: float, steps: int, seed: int) -> dict[str, Any]:
    """Train a network to give the clean image of a noisy one (for `Lab.compute`)."""
    clean, noise = images(), torch.Generator().manual_seed(1000 + seed)
    noisy = clean + NOISE * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))  # the same for all
    torch.manual_seed(seed)
    module, flops = built(label)
    seen = clean[:, :TRAIN]
    fit(
        module, seen, seen, steps=steps, lr=lr, batch=100, seed=seed,
        changed=lambda x: x + NOISE * torch.randn(x.shape, generator=noise),
    )  # fmt: skip
    with torch.no_grad():
        found = module(noisy)
    parts = {"valid": slice(TRAIN, TRAIN + VALID), SCORE: slice(TRAIN + VALID, None)}
    scores = {name: decibels(found[:, at], clean[:, at]) for name, at in parts.items()}
    before = decibels(noisy[:, parts[SCORE]], clean[:, parts[SCORE]])
    return {**scores, "before": before, "parameters": _size(module), "flops": flops}


class HourglassEntry(Entry):
    """Hourglass, the same with a frozen lift, and a conventional network of as many parameters."""

    number = 22
    title = "Hourglass maps"
    source = "*Rethinking the shape convention of an MLP*, [arXiv 2510.01796](https://arxiv.org/abs/2510.01796)"
    claim = (
        "networks that are wide outside and narrow inside are better than conventional ones at equal size, and the "
        "lift into the wide space may stay as it was drawn."
    )
    home = "`inner: hourglass`"
    control = "a conventional network of as many parameters, and the noisy image as it is"
    score = "decibels (peak signal to noise) on scikit-learn's digits with noise of 0.3, more is better"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        steps, rates = size.of(5, 1500), RATES[: size.of(1, len(RATES))]
        rows, before = [], 0.0
        for label in (OURS, FROZEN, USUAL):
            best, found = swept(lab, denoise, {"label": label, "steps": steps}, rates, seeds, higher=True)
            before = found[0]["before"]
            rows.append(
                row(label, {SCORE: [run[SCORE] for run in found]}, control=label == USUAL, lr=best,
                    parameters=found[0]["parameters"], flops=found[0]["flops"])
            )  # fmt: skip
        rows.append(row(AS_IT_IS, {SCORE: [before]}, control=True, parameters=0))
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        ours, frozen = (mean(result, label, SCORE) for label in (OURS, FROZEN))
        rows = {r["model"]: r for r in result["rows"]}
        counts = [(rows[label]["parameters"], rows[label]["flops"]) for label in (OURS, FROZEN)]
        told = f"{frozen:.2f} against {ours:.2f} dB"
        return [
            Criterion.of("frozen lift", "within 0.3 dB of the trained one", told, frozen >= ours - BEHIND),
            Criterion.of(
                "counted", "with the frozen map", f"{counts[1][0]:,} parameters, {counts[1][1]:,.0f} FLOPs of both",
                counts[0] == counts[1],
            ),
            Criterion.of(
                "control", "3 dB more than the noisy image",
                f"{min(ours, frozen):.2f} against {mean(result, AS_IT_IS, SCORE):.2f} dB",
                min(ours, frozen) >= mean(result, AS_IT_IS, SCORE) + 3,
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        ours, usual = (mean(result, label, SCORE) for label in (OURS, USUAL))
        flops = {r["model"]: r.get("flops") for r in result["rows"]}
        word = "confirmed" if ours >= usual + 0.1 else "not confirmed"
        return (
            f"that the shape is better is {word} at this size: {ours - usual:+.2f} dB to a conventional network of as "
            f"many parameters, at {flops[OURS] / flops[USUAL]:.2f} times its FLOPs. (As published, the blocks of the "
            "one add to the image's lift, those of the other to the image.)"
        )


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
