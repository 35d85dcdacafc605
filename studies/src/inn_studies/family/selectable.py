"""23: one-variable functions made of one family of basis functions each: which family is it?"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from inn.config.assemble import graph_config
from inn.nn.inner.families import FAMILY
from inn.nn.inner.kan import Kan
from inn.nn.inner.options import FAMILIES
from inn.surgery.families import prune_families, select_families
from inn_studies.family.entry import Criterion, Entry, row
from inn_studies.lab import Lab
from inn_studies.rows import markdown

TARGETS = ("bspline", "chebyshev", "fourier", "hinge", "wavelet")
"""What the five targets are made of; `rbf` is there to choose wrongly."""
FUNCTIONS, TRAIN, HELD, TEST, NOISE = 8, 200, 100, 500, 0.02
RIGHT, WORSE = 4, 1.5
SELECTED, WEIGHED, ALWAYS, ALL = "held-out error", "largest weight", "always B-splines", "all families"


def targets(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs `[1, S, 5, 1]` in [-1, 1] and targets in units of their spread, one of every family, without noise."""
    x = 2 * torch.rand(1, TRAIN + HELD + TEST, len(TARGETS), 1, generator=draw) - 1
    made = [
        FAMILY[name](x[0, :, n, 0], FUNCTIONS) @ torch.randn(FUNCTIONS, generator=draw)
        for n, name in enumerate(TARGETS)
    ]
    y = torch.stack(made, -1)[None, ..., None]
    return x, (y - y.mean(1, keepdim=True)) / y.std(1, keepdim=True)


def select(iterations: int, short: int, seed: int) -> dict[str, Any]:
    """Fit all families to the targets, then choose one for each in three ways (for `Lab.compute`)."""
    draw = torch.Generator().manual_seed(seed)
    x, y = targets(draw)
    noisy = y + NOISE * torch.randn(y.shape, generator=draw)
    seen, held, test = slice(0, TRAIN), slice(TRAIN, TRAIN + HELD), slice(TRAIN + HELD, None)
    torch.manual_seed(seed)
    config = graph_config(
        neurons=len(TARGETS), width=1, inner="kan",
        inner_options={"functions": FUNCTIONS, "reach": 1.0, "families": list(FAMILIES)},
    )  # fmt: skip
    model = Kan(config)

    def refit(module: Kan, iterations: int = short) -> None:
        """By L-BFGS: splines and hinges are too ill-conditioned for a short refit by gradients alone."""
        optimizer = torch.optim.LBFGS(
            module.parameters(), max_iter=iterations, tolerance_grad=1e-10, tolerance_change=1e-14, history_size=50,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def loss() -> Tensor:
            optimizer.zero_grad()
            error = (module(x[:, seen]) - noisy[:, seen]).square().mean()
            error.backward()
            return error

        optimizer.step(loss)

    def errors(module: Kan, at: slice = held, truth: Tensor = noisy) -> Tensor:
        with torch.no_grad():
            return (module(x[:, at]) - truth[:, at]).square().mean((0, 1, 3))

    refit(model, iterations)
    assert model.mix is not None
    weighed = [FAMILIES[i] for i in model.mix.argmax(-1).tolist()]
    selected, _ = select_families(model, refit, errors)
    chosen = list(selected.config.inner.families)
    chosen = chosen if len(chosen) > 1 else chosen * len(TARGETS)
    models = {ALL: model, SELECTED: selected}
    for label, families in ((WEIGHED, weighed), (ALWAYS, ["bspline"])):
        models[label] = prune_families(copy.deepcopy(model), families)
        refit(models[label])
    return {
        "chosen": {SELECTED: chosen, WEIGHED: weighed, ALWAYS: ["bspline"] * len(TARGETS)},
        "errors": {label: errors(module, test, y).tolist() for label, module in models.items()},
        "clamped": float(model.clamped(x).mean()),
    }


class Selectable(Entry):
    """A family chosen for each target by held-out error, by weight, and not at all."""

    number = 23
    title = "Selectable families of functions"
    source = "*Activation Space Selectable KAN*, [arXiv 2408.08338](https://arxiv.org/abs/2408.08338)"
    claim = "nodes that choose among families of basis functions are better than nodes that all have the same one."
    home = "`inner: kan`, `inn.surgery.families`"
    control = "the family of the largest weight in the sum, and B-splines for all"
    score = "error of targets by the family that made them, mean over seeds, shares of their variance"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        cases = {
            f"families {s}": {"iterations": size.of(5, 1000), "short": size.of(5, 200), "seed": s} for s in range(seeds)
        }
        runs = list(lab.compute(select, cases).values())
        rows = []
        for label in (ALL, SELECTED, WEIGHED, ALWAYS):
            errors = {name: [run["errors"][label][n] for run in runs] for n, name in enumerate(TARGETS)}
            chosen = [run["chosen"].get(label, []) for run in runs]
            right = [sum(a == b for a, b in zip(each, TARGETS)) for each in chosen]
            rows.append(row(label, errors, control=label in (WEIGHED, ALWAYS), chosen=chosen, right=right))
        return {"rows": rows, "clamped": max(run["clamped"] for run in runs)}

    def table(self, result: dict[str, Any]) -> str:
        cells = [
            [r["model"] + (" *(control)*" if r["control"] else ""),
             "–" if r["model"] == ALL else ", ".join(map(str, r["right"])),
             *(f"{sum(v) / len(v):.1e}" for v in r["scores"].values())]
            for r in result["rows"]
        ]  # fmt: skip
        return markdown(["chosen by", "right of 5, by seed:", *(f"{name}:" for name in TARGETS)], cells)

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        rows = {r["model"]: r for r in result["rows"]}
        right, by_weight = rows[SELECTED]["right"], rows[WEIGHED]["right"]
        ratio, always = (_ratio(rows[label], rows[ALL]) for label in (SELECTED, ALWAYS))
        return [
            Criterion.of("right family", "≥ 4 of 5", f"{min(right)} at least ({', '.join(map(str, right))})",
                         min(right) >= RIGHT),
            Criterion.of("after pruning", "≤ 1.5 times the error before", f"{ratio:.2f} times", ratio <= WORSE),
            Criterion.of("control", "B-splines for all: above 1.5 times", f"{always:.2f} times; by weight "
                         f"{', '.join(map(str, by_weight))} of 5 right", always > WORSE),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        rows = {r["model"]: r for r in result["rows"]}
        held_out, by_weight, always = (_ratio(rows[label], rows[ALL]) for label in (SELECTED, WEIGHED, ALWAYS))
        return (
            f"a choice by held-out error comes to {held_out:.2f} times the error of all families together, one by the "
            f"weights in the sum to {by_weight:.3g} times, since families imitate one another, and B-splines to "
            f"{always:.3g} times. {result['clamped']:.1%} of the inputs were clamped."
        )


def _ratio(after: dict[str, Any], before: dict[str, Any]) -> float:
    """The error after pruning in units of the one before: means over seeds and targets."""
    means = [[sum(v) / len(v) for v in r["scores"].values()] for r in (after, before)]
    return sum(means[0]) / sum(means[1])
