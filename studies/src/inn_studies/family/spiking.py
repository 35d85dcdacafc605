"""30: spiking neurons on digits that are told by the times of spikes, and what they would cost."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from inn.data.examples import Examples
from inn.data.names import sizes_of
from inn.data.tasks.digits import Digits, DigitsOptions
from inn.system.packages import require
from inn_studies.family.entry import Criterion, Entry, mean, row, trained
from inn_studies.lab import Lab
from inn_studies.where.harness import Test, Track

STEPS, PASSES, BATCH, IMAGES = 16, 25, 50, 1300
GRAPH = {"kind": "signal", "neurons": 1, "width": 64, "rounds": 2, "router": "none"}
LEAKY = {"memory.tau": 16.0, "memory.threshold": 0.1, "memory.reset": "soft"}
MODELS: dict[str, dict[str, Any]] = {
    "IF": {"memory": "lif", "memory.tau": "null", "memory.threshold": 1.0, "memory.reset": "soft"},
    "LIF": {"memory": "lif", **LEAKY},
    "PLIF": {"memory": "plif", **LEAKY},
    "PSN": {"memory": "psn", "memory.window": STEPS, "memory.expand": 4},
}
RATE, RATE_OF = 1e-2, {"PSN": 5e-3}
"""Learning rates, and the width of the PSN: the best of a few on the validation part, one seed each."""
WHICH, GREY = "logistic regression, which pixels fire", "logistic regression, grey values"
RIGHT, LOST = 0.90, 0.20
THRESHOLDS = (2.0, 1.0, 0.5)
"""Factors on the thresholds of a trained model, with which it fires more and more."""


def shuffled(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """The accuracy where the pixels that fire in an image have their times exchanged (a measure of a `Test`).

    Which pixels fire, and how many at each step, stays as it is.
    """
    from inn.inference.examples import evaluate_examples
    from inn.runs.load import load_with_data

    model, data = load_with_data(run)
    examples = data.examples(part)  # type: ignore[attr-defined]
    inputs = exchanged(examples.padded()[0], options["seed"])
    mixed = Examples(inputs.reshape(examples.inputs.shape), examples.targets, examples.starts)
    return {"value": evaluate_examples(model, mixed).metrics["accuracy"], "sequences": len(examples)}


def exchanged(spikes: np.ndarray, seed: int) -> np.ndarray:
    """Spikes `[n, T, P]`, the times of those pixels that fire dealt out anew within each image."""
    draw, found = np.random.default_rng(seed), np.zeros_like(spikes)
    for before, after in zip(spikes, found):
        pixels = np.flatnonzero(before.any(0))
        after[draw.permutation(before[:, pixels].argmax(0)), pixels] = 1
    return found


def cost(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """What a step would cost in nanojoules, or the spikes per unit and step (a measure of a `Test`).

    Args:
        options: `symbols` that are read; `what` is told: `nanojoules`, `rate`, or `rises`, 1 if both rise, one with the
            other, as thresholds fall.
    """
    from inn.analysis.energy import operations, passage
    from inn.runs.load import load_with_data

    model, data = load_with_data(run)
    given, _ = passage(data, options["symbols"])
    found = []
    for factor in THRESHOLDS:
        for r in range(GRAPH["rounds"]):
            memory = model.graph.round(r).memory  # type: ignore[attr-defined]
            memory.threshold = model.config.memory.threshold * factor
        done = operations(model, given)
        found.append({"rate": done.rate, "nanojoules": done.picojoules() / 1e3})
    rises = all(a[name] < b[name] for a, b in pairwise(found) for name in a)
    return {"value": float(rises) if options["what"] == "rises" else found[1][options["what"]], "sequences": len(given)}


def regressions(part: str) -> dict[str, float]:
    """What logistic regression makes of the grey values, and of which pixels fire (a function for `Lab.compute`)."""
    linear = require("sklearn.linear_model", "the control", "sklearn")
    found = {}
    grey, spikes = (
        {name: Digits(DigitsOptions(form=form, steps=STEPS, kind="digits")).part(name) for name in ("train", part)}
        for form in ("pixels", "spikes")
    )
    for label, form, seen in ((GREY, grey, lambda x: x[..., 0]), (WHICH, spikes, lambda x: x.any(1).astype(float))):
        x, y = zip(*((seen(e.padded()[0]), e.padded()[1][:, -1]) for e in form.values()))
        found[label] = float(linear.LogisticRegression(max_iter=2000).fit(x[0], y[0]).score(x[1], y[1]))
    return found


class Spiking(Entry):
    """Four kinds of spiking units, with the times of spikes as they are and dealt out anew."""

    number = 30
    title = "Spiking neurons, and what they would cost"
    source = (
        "*STEP: A Unified Spiking Transformer Evaluation Platform*, "
        "[arXiv 2505.11151](https://arxiv.org/abs/2505.11151)"
    )
    claim = (
        "spiking transformers lean on what is not spiking in them, and a quantised ordinary network can match their "
        "energy."
    )
    home = "memories `lif` (IF: `tau` null) `plif` `psn`, `inn info RUN --energy`"
    control = "the same models with the times of spikes dealt out anew; logistic regression on which pixels fire"
    score = "accuracy on scikit-learn's digits, each pixel a spike that is early where it is bright"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        here = "inn_studies.family.spiking"
        few = {"symbols": size.of(64, 1024)}
        tests = {
            "test": Test(),
            "times dealt out anew": Test({"seed": 0}, by=f"{here}:shuffled"),
            "spikes per unit": Test({**few, "what": "rate"}, by=f"{here}:cost"),
            "nJ per step": Test({**few, "what": "nanojoules"}, by=f"{here}:cost"),
            "energy rises": Test({**few, "what": "rises"}, by=f"{here}:cost"),
        }
        steps, options = size.of(2, PASSES * IMAGES // BATCH), {"form": "spikes", "steps": STEPS}
        track = Track("digits-spikes", "task:digits", steps, BATCH, options, tests)
        head = sizes_of(track.data().vocabulary)["head"]
        models = {label: {**GRAPH, "head": head, **own} for label, own in MODELS.items()}
        rows = []
        for label, fields in models.items():
            rows += trained(lab, track, {label: fields}, size, seeds, rates=(RATE_OF.get(label, RATE),))
        cheap = lab.compute(regressions, {"regressions": {"part": "test"}})["regressions"]
        return {"rows": rows + [row(label, {"test": [cheap[label]]}, control=True) for label in (WHICH, GREY)]}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        right = {label: mean(result, label, "test") for label in MODELS}
        lost = _lost(result)
        good = [label for label in MODELS if right[label] >= RIGHT]
        chosen = max(good or MODELS, key=lambda label: lost[label])
        rises = min(mean(result, label, "energy rises") for label in MODELS)

        def each(values: dict[str, float]) -> str:
            return ", ".join(f"{label} {value:.3f}" for label, value in values.items())

        said = "in all runs" if rises == 1 else "not in all runs"
        return [
            Criterion.of("digits", "≥ 0.90", each(right), bool(good)),
            Criterion.of("times", "one of those loses ≥ 0.20 without them", each(lost), lost[chosen] >= LOST),
            Criterion.of("energy", "rises with the rate", said, rises == 1),
        ]

    def found(self, result: dict[str, Any]) -> str:
        lost = _lost(result)
        least = min(lost, key=lambda label: lost[label])
        return (
            f"they are not accurate: logistic regression has {mean(result, WHICH, 'test'):.3f} from which pixels fire, "
            f"without times, and {mean(result, GREY, 'test'):.3f} from grey values. Units that sum up over all steps "
            f"read much of which pixels fire, too: {least} loses only {lost[least]:.3f}. No transformer is measured."
        )


def _lost(result: dict[str, Any]) -> dict[str, float]:
    """The accuracy that each model loses where times are dealt out anew."""
    return {label: mean(result, label, "test") - mean(result, label, "times dealt out anew") for label in MODELS}
