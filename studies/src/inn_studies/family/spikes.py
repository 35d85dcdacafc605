"""33: what maps read as counts of spikes, on digits and on text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from inn.data.names import sizes_of
from inn_studies.family.entry import Criterion, Entry, mean, row, scores, trained
from inn_studies.lab import Job, Lab
from inn_studies.where.harness import Test, Track

KS = (4.0, 2.0, 1.0, 0.5)
COARSE = 0.25
"""A code that should cost: its control."""
DIGITS, TEXT = "digits, pixel by pixel", "text (recipe demo)"
GRAPH = {"kind": "signal", "neurons": 2, "width": 24, "rounds": 2}
PASSES, BATCH, IMAGES = 20, 50, 1300
POINT, BITS, SILENT = 0.01, 0.02, 0.5
CODES = ("binary", "ternary", "bitwise", "complement")


def at(k: float) -> str:
    """The name of the score with k spikes.

    >>> at(0.5)
    'K = 0.5'
    """
    return f"K = {k:g}" if k else "numbers"


@cache
def measured(run: str, k: float, part: str, symbols: int) -> dict[str, float]:
    """A run whose maps read counts of spikes: its score, the share of numbers that send none, and exact sums or not."""
    import numpy as np

    from inn.analysis.energy import operations, passage
    from inn.compress.spikes import spiking
    from inn.data.task_data import TaskData
    from inn.inference.evaluate import evaluate
    from inn.inference.examples import evaluate_examples
    from inn.runs.load import load_with_data

    model, data = load_with_data(run)
    model = spiking(model, k) if k else model
    if isinstance(data, TaskData):
        score = evaluate_examples(model, data.examples(part)).metrics["accuracy"]
    else:
        score = evaluate(model, np.asarray(data.split(part)[:symbols])).bits
    given, mask = passage(data, 1024)
    done = operations(model, given, mask=mask)
    return {
        "score": score,
        "silent": done.silent or 0.0,
        "rate": done.rate or 0.0,
        "exact": float(exact(model, given[:1, :8]) if k else True),
    }


def exact(model: torch.nn.Module, given: torch.Tensor) -> bool:
    """Whether the spikes that a model's maps are given add up to the integer products, in all codes."""
    from inn.nn.spikes import code_of, counts, expanded

    right: list[bool] = []

    def look(module: Any, args: tuple[Any, ...]) -> None:
        s = counts(args[0], code_of(module).k)[0].long().flatten(0, -2)  # type: ignore[union-attr]
        matrix = torch.randint(-127, 128, (s.shape[1], 3), generator=torch.Generator().manual_seed(0))
        for code in CODES:
            spikes, weights = expanded(s, code)
            right.append(torch.equal((weights[:, None, None] * (spikes @ matrix)).sum(0), s @ matrix))

    hooks = [m.register_forward_pre_hook(look, prepend=True) for m in model.modules() if code_of(m) is not None]
    with torch.no_grad():
        model(given)
    for hook in hooks:
        hook.remove()
    return bool(right) and all(right)


def digits(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """One number of `measured` (a measure of a `Test`)."""
    return {"value": measured(run, options["k"], part, 0)[options["what"]], "sequences": 0}


def text(root: str, seed: int, symbols: int, scored: int) -> dict[str, Any]:
    """Train on the text of the recipe `demo`, and measure every k (a function for `Lab.compute`)."""
    settings = {"train.symbols": symbols, "train.seed": seed, "train.sample_every": 0}
    run = Lab(Path(root)).train([Job(f"spikes demo {seed}", "demo", settings)])[0]
    return {f"{k:g}": measured(str(run.path), k, "test", scored) for k in (0.0, *KS, COARSE)}


class SpikeCoding(Entry):
    """A graph on digits and on text, its maps given numbers or counts of spikes; nothing is trained again."""

    number = 33
    title = "Spike coding of trained activations"
    source = "*SpikingBrain*, [arXiv 2509.05276](https://arxiv.org/abs/2509.05276)"
    claim = (
        "activations as integer counts of spikes (1.13 per channel, 69.15 % silent) take a trained model of 7 billion "
        "parameters from 0.6998 to 0.6875 in the mean of its benchmarks, with 8-bit weights."
    )
    home = "`inn compress RUN --spikes K`, `spikes` of a graph"
    control = f"the same with K = {COARSE:g}, which has to cost"
    score = "accuracy, and bits per character; the share of numbers that send no spike"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        ks, by = (0.0, *KS, COARSE), "inn_studies.family.spikes:digits"
        tests = {
            **{at(k): Test({"k": k, "what": "score"}, by=by) for k in ks},
            **{f"silent, {at(k)}": Test({"k": k, "what": "silent"}, by=by) for k in KS},
            "sums exact": Test({"k": 2.0, "what": "exact"}, by=by),
        }
        track = Track("spikes-digits", "task:digits", size.of(2, PASSES * IMAGES // BATCH), BATCH, {}, tests)
        head = sizes_of(track.data().vocabulary)["head"]
        rows = trained(lab, track, {DIGITS: {**GRAPH, "head": head}}, size, seeds, rates=(1e-2,))
        many = {"symbols": size.of(4096, 1_000_000), "scored": size.of(500, 50_000)}
        found = lab.compute(text, {f"{s}": {"root": str(lab.root), "seed": s, **many} for s in range(seeds)}).values()
        told = {at(k): [one[f"{k:g}"]["score"] for one in found] for k in ks}
        told |= {f"silent, {at(k)}": [one[f"{k:g}"]["silent"] for one in found] for k in KS}
        told |= {"sums exact": [min(one[f"{k:g}"]["exact"] for k in KS) for one in found]}
        return {"rows": [*rows, row(TEXT, told)]}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        def dearer(label: str, k: float) -> float:
            """What k spikes cost: accuracy that is lost, or bits that are added."""
            change = mean(result, label, at(k)) - mean(result, label, at(0))
            return change if label == TEXT else -change

        points, bits = dearer(DIGITS, 2), dearer(TEXT, 2)
        coarse = f"{dearer(DIGITS, COARSE):.3f} of accuracy, {dearer(TEXT, COARSE):.3f} bits"
        silent = [mean(result, label, f"silent, {at(0.5)}") for label in (DIGITS, TEXT)]
        right = all(v == 1 for label in (DIGITS, TEXT) for v in scores(result, label, "sums exact"))
        return [
            Criterion.of("digits", "K = 2 costs ≤ 0.01 of accuracy", f"{points:+.4f}", points <= POINT),
            Criterion.of("text", "K = 2 costs ≤ 0.02 bits", f"{bits:+.4f}", bits <= BITS),
            Criterion.of(
                "silence", "K = 0.5: ≥ half are silent", f"{silent[0]:.2f} and {silent[1]:.2f}", min(silent) >= SILENT
            ),
            Criterion.of(
                "sums", "integer products exactly, in all codes", "in all runs" if right else "not in all", right
            ),
            Criterion.of(
                "control",
                f"K = {COARSE:g} costs more than that",
                coarse,
                dearer(DIGITS, COARSE) > POINT and dearer(TEXT, COARSE) > BITS,
            ),
        ]

    def found(self, result: dict[str, Any]) -> str:
        cost = mean(result, TEXT, at(1)) - mean(result, TEXT, at(0))
        return (
            f"one spike per number costs {cost:.3f} bits of text here, with "
            f"{mean(result, TEXT, f'silent, {at(1)}'):.0%} of the numbers silent; 8-bit weights are not measured."
        )
