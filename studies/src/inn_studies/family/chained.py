"""13: a workspace that chains operations: what is learned is who writes next, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.data.names import sizes_of
from inn.data.tasks.base import task
from inn.models.build import parameters_of
from inn.models.size import with_parameters
from inn.nn.routing.choice import chosen
from inn_studies.family.entry import Criterion, Entry, mean, row, scores, trained
from inn_studies.family.fitting import swept
from inn_studies.lab import Lab
from inn_studies.where.harness import Test, Track, configured

OURS, SHORT, OPEN = "workspace", "workspace, 12 inner steps", "workspace, soft gates"
HUB, LSTM = "graph with a hub that asks one neuron", "LSTM"
INSIDE, BEYOND = "b to 5", "b from 6 to 9"
STEPS, LONGER = 12, 18
RATES = (3e-3, 1e-2)
UNITS = 16
"""Of the controller: 1.6 k parameters."""
RIGHT, WRONG, TIMES = 0.95, 0.2, 10
GRAPH = {
    "kind": "inn", "neurons": 4, "width": 24, "rounds": 2, "recall": "none", "memory": "gru", "topology": "hub",
    "router": "mixture", "router.top": 1, "router.lag": 1,
}  # fmt: skip
"""A star of learned neurons whose hub asks one of them at every step, chained over steps."""


class Chain(nn.Module):
    """w ← Σ_k g_k f_k(w), g = softmax of an LSTM that sees flags of w and its last gates; one gate in evaluation.

    The workspace w holds a value, a count and what was told, each a one-hot vector. The operations are given: take a
    in and count from 0; add one to the value and the count; tell the value. The flags: is there a value, is the count
    b, has something been told. What is learned is the control alone.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.cell = nn.LSTMCell(6, UNITS)
        self.gates = nn.Linear(UNITS, 3)

    def forward(self, a: Tensor, b: Tensor, steps: int, hard: bool) -> Tensor:
        """What is told after so many inner steps, `[n, size]`: shares of the numbers, for a and b `[n]`."""
        first, second = (F.one_hot(n, self.size).float() for n in (a, b))
        value, count, told = (torch.zeros_like(first) for _ in range(3))
        nothing = F.one_hot(torch.zeros_like(a), self.size).float()
        h = c = first.new_zeros(len(a), UNITS)
        g = first.new_zeros(len(a), 3)
        for _ in range(steps):
            flags = torch.stack((value.sum(1), (count * second).sum(1), told.sum(1)), 1)
            h, c = self.cell(torch.cat((flags, g), 1), (h, c))
            g = self.gates(h).softmax(-1)
            if hard:
                g = chosen(g, 1).to(g.dtype)
            take, add, tell = g.unsqueeze(-1).unbind(1)
            value, count, told = (
                take * first + add * value.roll(1, 1) + tell * value,
                take * nothing + add * count.roll(1, 1) + tell * count,
                take * told + add * told + tell * value,
            )
        return told


def control(lr: float, seed: int, updates: int) -> dict[str, Any]:
    """Train the control on b to 5 within 12 inner steps (for `Lab.compute`)."""
    torch.manual_seed(seed)
    drawn = task("addition", seed=seed, steps=STEPS)
    rng, size = drawn.rng("train"), len(drawn.names) - 1
    model = Chain(size)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(updates):
        a, b, total = _numbers(drawn.draw(rng, 64))
        loss = F.nll_loss((model(a, b, STEPS, hard=False) + 1e-6).log(), total)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    found = {
        "valid": _right(model, "valid", STEPS, {}),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    for name, options in ((INSIDE, {}), (BEYOND, {"least": 6, "most": 9})):
        found[f"{OURS}, {name}"] = _right(model, "test", LONGER, options)
        found[f"{SHORT}, {name}"] = _right(model, "test", STEPS, options)
        found[f"{OPEN}, {name}"] = _right(model, "test", LONGER, options, hard=False)
    return found


@torch.no_grad()
def _right(model: Chain, part: str, steps: int, options: dict[str, Any], hard: bool = True) -> float:
    a, b, total = _numbers(task("addition", **{"steps": steps, **options}).part(part))
    return float((model(a, b, steps, hard).argmax(1) == total).float().mean())


def _numbers(examples: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs, targets, _ = examples.padded()
    return tuple(torch.from_numpy(n.copy()) for n in (inputs[:, 0], inputs[:, 1], targets[:, -1]))  # type: ignore[return-value]


class Chained(Entry):
    """The control of given operations, beside an LSTM of ten times its size, and a star of learned neurons."""

    number = 13
    title = "A workspace that chains operations"
    source = (
        "*Learning to Chain Operations by Routing Information Through a Global Workspace*, "
        "[arXiv 2503.01906](https://arxiv.org/abs/2503.01906)"
    )
    claim = (
        "a controller that opens who writes into a workspace and who reads from it generalises to additions that it "
        "has not seen, inside the range and beyond it, where an LSTM and a Transformer of more parameters fail."
    )
    home = "topology `hub`, router `mixture` with `lag: 1`, task `addition` (`steps`: the inner steps)"
    control = "an LSTM of ten times its size; as few inner steps as in training"
    score = f"accuracy of a + b, trained on b to 5 with {STEPS} inner steps, tested with {LONGER}"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        updates = size.of(3, 2000)
        best, found = swept(lab, control, {"updates": updates}, RATES[: size.of(1, 2)], seeds, higher=True)
        rows = [
            row(label, {name: [run[f"{label}, {name}"] for run in found] for name in (INSIDE, BEYOND)},
                control=label == SHORT, lr=best, parameters=found[0]["parameters"])
            for label in (OURS, SHORT, OPEN)
        ]  # fmt: skip
        few = {"examples": size.of(10, 1000), "steps": LONGER}
        tests = {INSIDE: Test(few), BEYOND: Test({**few, "least": 6, "most": 9})}
        track = Track("addition", "task:addition", size.of(2, 1500), 64, {"steps": STEPS}, tests)
        sizes = sizes_of(track.data().vocabulary)
        rival = {"kind": "lstm", "layers": 1}
        target = TIMES * found[0]["parameters"]
        models = {LSTM: {**rival, "width": with_parameters(configured(rival, sizes), target).width}}
        while parameters_of(configured(models[LSTM], sizes)) < target:
            models[LSTM]["width"] += 1
        rows += trained(lab, track, models, size, seeds, rates=RATES, controls=[LSTM])
        track = replace(track, steps=size.of(2, 400))
        rows += trained(lab, track, {HUB: GRAPH}, size, seeds, rates=RATES[1:])
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        ours, lstm = (scores(result, label, BEYOND) for label in (OURS, LSTM))
        sizes = {r["model"]: r["parameters"] for r in result["rows"]}
        least, most = min(ours, default=0.0), max(lstm, default=1.0)
        return [
            Criterion.of("beyond the range", f"≥ {RIGHT} in every seed", f"{least:.3f} at least", least >= RIGHT),
            Criterion.of("control", f"an LSTM ≤ {WRONG} there", f"{most:.3f} at most", most <= WRONG),
            Criterion.of(
                "size", f"of {TIMES}× its size or more", f"{sizes[LSTM]:,} against {sizes[OURS]:,}",
                sizes[LSTM] >= TIMES * sizes[OURS],
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        short, inside = mean(result, SHORT, BEYOND), mean(result, LSTM, INSIDE)
        hub = [mean(result, HUB, name) for name in (INSIDE, BEYOND)]
        return (
            f"the operations are given, so that only the control is learned, and it needs the steps: {short:.2f} with "
            f"{STEPS} of them. The LSTM is right on {inside:.2f} inside the range. A star whose neurons are learned, "
            f"too (a hub that asks one of them at every step), is right on {hub[0]:.2f} inside and {hub[1]:.2f} beyond."
        )
