"""16: sums of products of functions of one number each, on targets that are such sums and on one that is not."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from inn.nn.inner.separable import Products
from inn_studies.family.entry import Criterion, Entry, mean, row
from inn_studies.family.fitting import fit, swept
from inn_studies.lab import Lab
from inn_studies.rows import markdown

RANK, VARIABLES, POINTS = 2, 4, 4000
WITHIN, TIMES, LEAD = 2e-3, 10, 3.0
RATES = (1e-2, 3e-2, 1e-1)
OURS, RANKED, MLP = "separable, R 4", "separable, R 2", "MLP"
TERMS = {OURS: 2 * RANK, RANKED: RANK, MLP: 0}
TARGET, ROTATED = "target of rank 2", "rotated by 45°"


class Sum(nn.Module):
    """The sum of R products, `[1, S, 4]` -> `[1, S]`: the map without its way out, which is the paper's form."""

    def __init__(self, terms: int):
        super().__init__()
        self.products = Products(1, VARIABLES, terms, hidden=8)

    def forward(self, x: Tensor) -> Tensor:
        return self.products(x[:, :, None]).sum((-1, -2))


class Mlp(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(VARIABLES, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)[..., 0]


def target(x: Tensor, draw: torch.Generator) -> Tensor:
    """A sum of two products of sines `[1, S]`, in units of its spread."""
    speed = 1 + 2 * torch.rand(RANK, VARIABLES, generator=draw)
    phase = 2 * math.pi * torch.rand(RANK, VARIABLES, generator=draw)
    y = torch.sin(x[..., None, :] * speed + phase).prod(-1).sum(-1)
    return (y - y.mean()) / y.std()


def left(model: str, rotated: bool, lr: float, steps: int, seed: int) -> dict[str, Any]:
    """The share of a target's variance that is left, on a validation and a test part (for `Lab.compute`)."""
    draw = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(1, POINTS + 2000, VARIABLES, generator=draw) - 1
    half = math.sqrt(0.5)
    turn = torch.tensor([[half, half, 0, 0], [-half, half, 0, 0], [0, 0, half, half], [0, 0, -half, half]])
    y = target(x @ turn if rotated else x, draw)
    torch.manual_seed(seed)
    module = Sum(TERMS[model]) if TERMS[model] else Mlp()
    fit(module, x[:, :POINTS], y[:, :POINTS], steps=steps, lr=lr, batch=256, seed=seed)
    with torch.no_grad():
        error = (module(x) - y).square()[0]
    valid, test = error[POINTS:-1000].mean(), error[-1000:].mean()
    return {"valid": float(valid), "test": float(test), "parameters": sum(p.numel() for p in module.parameters())}


class SeparableEntry(Entry):
    """A sum of products beside a perceptron of ten times its size, on a target of that form and one that is not."""

    number = 16
    title = "Separable maps"
    source = (
        "*Separable neural architectures as a primitive…*, [arXiv 2603.12244](https://arxiv.org/abs/2603.12244) (its "
        "abstract; the map is our reconstruction)"
    )
    claim = "sums of products of small functions of one variable are a primitive that needs far fewer parameters."
    home = "`inner: separable`"
    control = "a multilayer perceptron of 11 times the parameters, and the same target in rotated variables"
    score = "share of the variance that is left on 1,000 test points in 4 variables, less is better"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        steps, rates, rows = size.of(5, 3000), RATES[: size.of(1, len(RATES))], []
        for label in TERMS:
            scores, best, runs = {}, {}, []
            for test, rotated in ((TARGET, False), (ROTATED, True))[: 1 if label == RANKED else 2]:
                case = {"model": label, "rotated": rotated, "steps": steps}
                best[test], runs = swept(lab, left, case, rates, seeds)
                scores[test] = [run["test"] for run in runs]
            rows.append(row(label, scores, control=label == MLP, parameters=runs[0]["parameters"], rates=best))
        return {"rows": rows}

    def table(self, result: dict[str, Any]) -> str:
        cells = [
            [r["model"] + (" *(control)*" if r["control"] else ""), f"{r['parameters']:,}",
             *(", ".join(f"{v:.1e}" for v in r["scores"].get(test, [])) or "–" for test in (TARGET, ROTATED))]
            for r in result["rows"]
        ]  # fmt: skip
        return markdown(["model", "parameters:", f"{TARGET}, by seed:", f"{ROTATED}, by seed:"], cells)

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        ours, mlp, ours_rotated, mlp_rotated = (mean(result, m, t) for t in (TARGET, ROTATED) for m in (OURS, MLP))
        size = {r["model"]: r["parameters"] for r in result["rows"]}
        worse = mlp / ours
        return [
            Criterion.of("R twice the rank", "≤ 2e-3", f"{ours:.1e}", ours <= WITHIN),
            Criterion.of(
                "an MLP of ≥ 10 times the parameters", "≥ 3 times the error",
                f"{mlp:.1e}, {worse:.1f} times; {size[MLP]:,} parameters against {size[OURS]:,}",
                worse >= LEAD and size[MLP] >= TIMES * size[OURS],
            ),
            Criterion.of(
                "rotated by 45°", "the lead is lost", f"{ours_rotated:.1e} against {mlp_rotated:.1e} of the MLP",
                ours_rotated >= mlp_rotated,
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        ours, ranked, mlp = (mean(result, m, TARGET) for m in (OURS, RANKED, MLP))
        rotated = mean(result, OURS, ROTATED) / mean(result, MLP, ROTATED)
        return (
            f"the error is {ours / mlp:.2f} times the MLP's where the target is separable in the given variables, "
            f"and {rotated:.1f} times where it is not. With R at the rank itself it is {ranked:.1e}."
        )
