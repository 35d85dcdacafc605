"""6: how special neurons are, and what silencing the parts of a model costs, with parts that are known and without."""

from __future__ import annotations

import statistics
from typing import Any

from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.lab import Lab

MERGED, JOINT, UNTRAINED = "two trained alone, merged", "trained on both at once", "before training"
APART, SELECTIVE, QUIET, Q, P = (
    "own loss over others'", "selective neurons", "sparsity", "modularity of co-activation", "p of the localisation"
)  # fmt: skip
FACTOR = 5.0


def told(seed: int, steps: int, draws: int) -> dict[str, dict[str, Any]]:
    """The table of neurons, and what silencing parts costs, of each model (for `Lab.compute`)."""
    import numpy as np
    import torch

    from inn.analysis import skills, specialisation
    from inn.analysis.recording.trace import trace
    from inn_studies.family import sources

    data, count, found = sources.sources(2, seed), 2, {}
    models = {
        MERGED: sources.side_by_side(count, steps, seed),
        JOINT: sources.at_once(count, steps, seed),
        UNTRAINED: sources.made(count, count * sources.NEURONS, seed).eval(),
    }
    for name, model in models.items():
        labels = [n // sources.NEURONS for n in range(model.config.neurons)]
        seen = skills(model, data, labels=labels if name == MERGED else None, draws=draws, lesions=draws, seed=seed)
        activity, of = [], []
        for skill, examples in data.items():
            with torch.no_grad(), trace(model, "activity") as tape:
                model(torch.from_numpy(examples.padded()[0][:60]))
            activity.append(tape.values("activity")[0])
            of += [skill] * len(activity[-1])
        table = specialisation(torch.cat(activity), np.array(of), block=sources.LENGTH, seed=seed)
        bits = seen.localisation.bits
        found[name] = {
            APART: sources.apart(bits) if len(bits) == 2 else 0.0,
            SELECTIVE: float(table.selective.any(0).double().mean()), QUIET: float(table.sparsity.mean()),
            Q: table.partition["modularity"], P: seen.localisation.null.p, "bits": bits.tolist(),
            "groups": seen.localisation.groups,
        }  # fmt: skip
    return found


class Bricks(Entry):
    """Two sources with symbols of their own: models of two known parts, of none, and untrained ones."""

    number = 6
    title = "What the parts of a model are for"
    source = "*Configurable Foundation Models: Building LLMs from a Modular Perspective*, [arXiv 2409.02877](https://arxiv.org/abs/2409.02877)"
    claim = "parts of language models are special for skills, sparse, and can be told apart and taken away one by one."
    home = "`inn.analysis.specialisation`, `inn.analysis.skills(...).localisation`"
    control = "a model trained on both at once; untrained ones"
    score = "of eight neurons, and of what silencing each of two groups of them costs on each of two sources"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        given = {"steps": size.of(2, 300), "draws": size.of(3, 39)}
        found = list(lab.compute(told, {f"seed {s}": {"seed": s, **given} for s in range(1, seeds + 1)}).values())
        tests = (APART, SELECTIVE, QUIET, Q, P)
        rows = [
            row(name, {test: [f[name][test] for f in found] for test in tests}, control=name != MERGED)
            for name in (MERGED, JOINT, UNTRAINED)
        ]
        return {"rows": rows, "bits": {name: [f[name]["bits"] for f in found] for name in (MERGED, JOINT)}}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        apart, joint = scores(result, MERGED, APART), scores(result, JOINT, APART)
        enough = len(apart) > 2
        return [
            Criterion.of("localisation", f"own loss ≥ {FACTOR:g} × others', in 3 of 3",
                         ", ".join(f"{v:.1f}" for v in apart), min(apart) >= FACTOR if enough else None),
            Criterion.of("control", "trained on both at once: less apart", f"{statistics.median(joint):.1f}",
                         statistics.median(joint) < min(apart) if enough else None),
            Criterion.of("selective", "more neurons than before training",
                         f"{mean(result, MERGED, SELECTIVE):.0%} against {mean(result, UNTRAINED, SELECTIVE):.0%}",
                         mean(result, MERGED, SELECTIVE) > mean(result, UNTRAINED, SELECTIVE) if enough else None),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        return (
            f"on one model trained on both sources the communities that `skills` finds are "
            f"{mean(result, JOINT, APART):.1f} times as needed by one source as by the other at worst, and "
            f"{mean(result, JOINT, SELECTIVE):.0%} of the neurons tell the source by their activity."
        )
