"""37: representational similarity: of layers with themselves and with one another, and how much it takes to know it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.lab import Lab

TRAINED, UNTRAINED = "trained on digits", "before training"
ITSELF, OTHER, TURNED, PEARSON, MIXED, FULL, EIGHTH, HALF, CEILING = (
    "layers that pick themselves", "and their other half", "changed by a rotation", "the same, Pearson over units",
    "shuffled stimuli",
    "halves, all units", "an eighth", "half of them", "ceiling",
)  # fmt: skip
SAME, RISES, CHANCE = 1e-6, 0.95, 0.05
LAYERS, UNITS, IMAGES = 4, 512, 200


def told(seed: int, steps: int) -> dict[str, dict[str, float]]:
    """Of layers of a network before and after training (a function for `Lab.compute`).

    A layer's units are also split at random: one half is to find the other among the halves of all layers.
    """
    import torch
    from scipy.stats import ortho_group
    from torch import nn

    from inn.analysis import pseudo_depth, rsa, rsa_curve
    from inn.system.packages import require

    digits = require("sklearn.datasets", "the digits", "sklearn").load_digits()
    x, y = torch.from_numpy(digits.data).float() / 16, torch.from_numpy(digits.target)
    torch.manual_seed(seed)
    sizes = [x.shape[1], *[UNITS] * LAYERS]
    layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
    head = nn.Linear(UNITS, 10)
    rng = np.random.default_rng(seed)
    shown = torch.from_numpy(rng.permutation(len(x))[:IMAGES])

    def read(x: Any) -> list[Any]:
        found = []
        for layer in layers:
            x = torch.relu(layer(x))
            found.append(x)
        return found

    def measured() -> dict[str, float]:
        with torch.no_grad():
            seen = [layer.double().numpy() for layer in read(x[shown])]
        order = rng.permutation(UNITS)
        ours, theirs = ([layer[:, part] for layer in seen] for part in (order[::2], order[1::2]))
        turn, last = ortho_group.rvs(64, random_state=seed), seen[-1]
        some = last[:, order[:64]]
        plain = {metric: rsa(some, last, draws=20, metric=metric) for metric in ("cosine", "pearson")}
        turned = {m: rsa(3.0 * some @ turn, last, draws=1, metric=m).similarity for m in ("cosine", "pearson")}
        curve = {point.count: point.mean for point in rsa_curve(ours[1], theirs[1])}
        return {
            ITSELF: float(np.mean([pseudo_depth(seen, layer)[0] == k for k, layer in enumerate(seen)])),
            OTHER: float(np.mean([pseudo_depth(ours, half)[0] == k for k, half in enumerate(theirs)])),
            TURNED: abs(turned["cosine"] - plain["cosine"].similarity),
            PEARSON: abs(turned["pearson"] - plain["pearson"].similarity),
            MIXED: abs(rsa(ours[1], theirs[1][rng.permutation(IMAGES)], draws=1).similarity),
            EIGHTH: curve[UNITS // 16], HALF: curve[UNITS // 4], FULL: curve[UNITS // 2],
            CEILING: rsa(ours[1], theirs[1], draws=20).ceiling,
        }  # fmt: skip

    found = {UNTRAINED: measured()}
    optimizer = torch.optim.Adam([*layers.parameters(), *head.parameters()], 1e-3)
    for _ in range(steps):
        some = torch.randint(len(x), (64,))
        loss = nn.functional.cross_entropy(head(read(x[some])[-1]), y[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {**found, TRAINED: measured()}


class Alike(Entry):
    """Networks of four layers on scikit-learn's digits."""

    number = 37
    title = "Representational similarity, and how much it takes"
    source = (
        "*Comparison Against Task Driven Artificial Neural Networks Reveals Functional Properties in Mouse Visual "
        "Cortex*, [arXiv 1911.07986](https://arxiv.org/abs/1911.07986)"
    )
    claim = "similarity of similarity matrices tells which layer an area is like, given enough neurons and stimuli."
    home = "`inn.analysis.rsa`, `rsa_curve`, `pseudo_depth`"
    control = "stimuli shuffled; the networks before training"
    score = f"Spearman's correlation of the similarities of {IMAGES} images, between halves of a layer's {UNITS} units"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        cases = {f"seed {s}": {"seed": s, "steps": size.of(2, 200)} for s in range(1, seeds + 1)}
        found = list(lab.compute(told, cases).values())
        tests = (ITSELF, OTHER, FULL, HALF, EIGHTH, CEILING, MIXED, TURNED, PEARSON)
        return {
            "rows": [
                row(name, {test: [f[name][test] for f in found] for test in tests}, control=name == UNTRAINED)
                for name in (TRAINED, UNTRAINED)
            ]
        }

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        enough = len(scores(result, TRAINED, FULL)) > 2
        itself, turned, full, mixed = (scores(result, TRAINED, test) for test in (ITSELF, TURNED, FULL, MIXED))
        return [
            Criterion.of("itself", "every layer picks itself out of all", f"{min(itself):.0%} at least",
                         min(itself) == 1 if enough else None),
            Criterion.of("rotation and scale", f"change nothing (≤ {SAME:g})", f"{max(turned):.1e}",
                         max(turned) <= SAME if enough else None),
            Criterion.of("all units", f"the curve rises to ≥ {RISES}", f"{min(full):.3f}",
                         min(full) >= RISES and mean(result, TRAINED, EIGHTH) < min(full) if enough else None),
            Criterion.of("shuffled stimuli", f"control: ≤ {CHANCE}", f"{max(mixed):.3f}",
                         max(mixed) <= CHANCE if enough else None),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        return (
            f"half of a layer's units picks the other half out of those of all layers in "
            f"{mean(result, TRAINED, OTHER):.0%}, before training in {mean(result, UNTRAINED, OTHER):.0%}: what is "
            "known better may be more alike than what is nearer. With Pearson's correlation over units, as in the "
            f"paper, a rotation changes it by {mean(result, TRAINED, PEARSON):.3f}: only responses less the "
            f"mean of each unit are blind to it. An eighth of the units has {mean(result, TRAINED, EIGHTH):.3f} of "
            f"{mean(result, TRAINED, FULL):.3f}."
        )
