"""21: modalities in a chain, of which the last is missing more often in one class, and at test in the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.config.signals import SignalConfig
from inn.models.build import build_model
from inn.models.views import mean_loss, told_by_all
from inn.system.packages import require
from inn_studies.family.entry import Criterion, Entry, mean, row
from inn_studies.family.fitting import swept
from inn_studies.lab import Lab

CHAIN, LAST, PARALLEL = "chain, a readout after each", "chain, the last readout alone", "parallel"
ALIKE, FLIPPED, COST = "missing as in training", "flipped", "cost of the flip"
NOISE, MISSING = 2.0, 0.8
"""Of the channels, in their own deviations; share of one class without the third part."""
PARTS, DRAWS = 3, 10
AT_MOST = 0.7
RATES = (3e-3, 1e-2)
NEURON = {"width": 16, "memory": "none", "channels": "split", "identity": "embedding"}
LINKS = {
    **NEURON, "neurons": PARTS + 1, "rounds": PARTS, "topology": {"kind": "chain", "sensors": [*range(1, PARTS + 1)]},
}  # fmt: skip
"""A start that takes nothing in, and a neuron for each part."""
MODELS: dict[str, dict[str, Any]] = {
    CHAIN: {**LINKS, "readout": {"kind": "each", "change": 0.01}},
    LAST: {**LINKS, "readout": {"kind": "each", "read": [PARTS - 1, PARTS]}},
    PARALLEL: {**NEURON, "neurons": PARTS, "rounds": PARTS, "topology": "complete", "readout": "concat"},
}


class Data:
    """Breast cancer of scikit-learn, 30 channels with noise in three parts; half is to train, 3 in 20 to choose by."""

    def __init__(self, seed: int):
        found = require("sklearn.datasets", "entry 21", "sklearn").load_breast_cancer()
        self.draw = np.random.default_rng(seed)
        order = self.draw.permutation(len(found.data))
        x, y = found.data[order], found.target[order]
        ends = [len(x) // 2, len(x) // 2 + 3 * len(x) // 20, len(x)]
        x = (x - x[: ends[0]].mean(0)) / x[: ends[0]].std(0)
        self.parts = {
            name: (x[a:b], y[a:b]) for name, a, b in zip(("train", "valid", "test"), (0, *ends), ends, strict=False)
        }

    def drawn(self, part: str, missing_in: int | None) -> tuple[Tensor, Tensor]:
        """Signals `[n, 1, 30]` with new noise, the last part missing for 80 % of a class (None: of nobody); classes."""
        x, y = self.parts[part]
        x = x + NOISE * self.draw.standard_normal(x.shape)
        gone = (self.draw.random(len(x)) < MISSING) & (y == missing_in)
        x[gone, -(x.shape[1] // PARTS) :] = np.nan
        return torch.from_numpy(x).float()[:, None], torch.from_numpy(y)[:, None]


def robust(model: str, lr: float, steps: int, draws: int, seed: int) -> dict[str, Any]:
    """Areas under the curve of a model by who lacks the last part at test (for `Lab.compute`)."""
    data = Data(seed)
    torch.manual_seed(seed)
    net = build_model(SignalConfig(features=30, outputs=2, head="classes", **MODELS[model]))
    optimizer = torch.optim.AdamW(net.parameters(), lr, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    every = told_by_all(net) if model == CHAIN else {}
    for _ in range(steps):
        x, y = data.drawn("train", 0)
        told, state = net(x, **every)
        loss = (mean_loss(net, told, y, None) if every else net.loss(told, y)) / len(x)
        optimizer.zero_grad()
        sum(state.penalties.values(), loss).backward()
        optimizer.step()
        schedule.step()
    net.eval()
    found = {name: areas(net, data, part, of, draws) for name, part, of in _TESTS}
    alike = found.pop("valid")
    found[COST] = found[ALIKE] - found[FLIPPED]
    parameters = sum(p.numel() for p in net.parameters())
    return {**found, "valid": alike, "parameters": parameters, "same": same_before(net, data)}


_TESTS = (("valid", "valid", 0), (ALIKE, "test", 0), (FLIPPED, "test", 1))


@torch.no_grad()
def areas(net: Any, data: Data, part: str, missing_in: int, draws: int) -> float:
    """The mean area under the curve over so many draws of noise and of what is missing."""
    area = require("sklearn.metrics", "entry 21", "sklearn").roc_auc_score
    found: list[float] = []
    for _ in range(draws):
        x, y = data.drawn(part, missing_in)
        scores = net(x)[0][:, 0].diff(dim=1)[:, 0]
        found.append(float(area(y[:, 0].numpy(), scores.numpy())))
    return float(np.mean(found))


@torch.no_grad()
def same_before(net: Any, data: Data) -> bool | None:
    """Whether what is told before the last part is the same, bit for bit, with and without it; None of one readout."""
    if net.views < 2:
        return None
    x, _ = data.drawn("test", None)
    without = x.clone()
    without[..., -(x.shape[-1] // PARTS) :] = torch.nan
    whole, gone = (net(signal, every=True)[0] for signal in (x, without))
    return torch.equal(whole[:, :, :-1], gone[:, :, :-1]) and torch.equal(gone[:, :, -1], gone[:, :, -2])


class Modalities(Entry):
    """A chain of neurons, one for each part, beside the same neurons side by side."""

    number = 21
    title = "Modalities in a chain"
    source = "*MultiModN*, [arXiv 2309.14118](https://arxiv.org/abs/2309.14118)"
    claim = (
        "modalities fused one after another, absent ones skipped, lose nothing against parallel fusion, and survive "
        "missingness that flips between training and test."
    )
    home = "topology `chain` (the first link, no sensor, is the learned start), `readout: each`"
    control = (
        "parallel: the same neurons on the complete graph, all read at once; the chain trained on its last readout"
    )
    score = "area under the curve on noisy breast cancer in three parts, the third missing for 80 % of one class"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        rows = []
        for label in MODELS:
            case = {"model": label, "steps": size.of(5, 400), "draws": size.of(1, DRAWS)}
            best, runs = swept(lab, robust, case, RATES[: size.of(1, 2)], seeds, higher=True)
            scores = {test: [run[test] for run in runs] for test in (ALIKE, FLIPPED, COST)}
            same: Sequence[bool | None] = [run["same"] for run in runs]
            rows.append(
                row(label, scores, control=label != CHAIN, lr=best, parameters=runs[0]["parameters"], same=same)
            )
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        ours, parallel = (mean(result, label, COST) for label in (CHAIN, PARALLEL))
        same = next(r["same"] for r in result["rows"] if r["model"] == CHAIN)
        return [
            Criterion.of(
                "cost of the flip", f"≤ {AT_MOST} × the parallel net's", f"{ours:.3f} against {parallel:.3f}",
                ours <= AT_MOST * parallel,
            ),
            Criterion.of(
                "readouts before the missing part", "the same bits with and without it",
                f"in {sum(same)} of {len(same)} seeds", all(same),
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        chain, parallel = (mean(result, label, ALIKE) for label in (CHAIN, PARALLEL))
        flipped = [mean(result, label, FLIPPED) for label in (CHAIN, LAST, PARALLEL)]
        return (
            f"more robust, not immune: the area is {flipped[0]:.3f} after the flip, {flipped[2]:.3f} in parallel, and "
            f"{flipped[1]:.3f} of a chain that was trained on its last readout alone. As long as parts are missing as "
            f"in training it is {chain:.3f}, and {parallel:.3f} in parallel."
        )
