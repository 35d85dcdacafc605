"""24: neurons that are needed together, as communities: against parts that are known, and tuned beside random ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.lab import Lab

PLANTED, COMPLETE = "parts trained alone, merged", "complete graph, trained on all"
SHUFFLED = "the merged one's importance, shuffled"
ARI, NMI, CHANCE, P = "ARI", "NMI", "NMI of shuffled labels", "p of the communities"
ALONE = "ARI, silenced one by one"
WHOLE, OWN, RANDOM, ALL = "before", "a community", "as many at random", "all neurons"
RECOVERED, DECIDED = 0.8, 0.05
SOURCES, SHUFFLES, PAIRS = 4, 10, 3


def planted(seed: int, count: int, steps: int, draws: int) -> dict[str, Any]:
    """What `skills` tells of models trained alone and merged, whose parts are known (a function for `Lab.compute`)."""
    import torch

    from inn.analysis import skills
    from inn.analysis.measures.skills import communities_of
    from inn_studies.family import sources

    merged = sources.side_by_side(count, steps, seed)
    labels = [n // sources.NEURONS for n in range(merged.config.neurons)]
    data = sources.sources(count, seed)
    alone = skills(merged, data, labels=labels, symbols=512, draws=0, lesions=0, seed=seed)
    found = skills(merged, data, labels=labels, symbols=512, pairs=PAIRS, draws=draws, lesions=0, seed=seed)
    rng, shuffled = np.random.default_rng(seed), []
    for _ in range(SHUFFLES):
        needs = torch.stack([need[torch.from_numpy(rng.permutation(len(labels)))] for need in found.needs])
        shuffled.append(communities_of(needs, draws=draws, seed=seed)["null"]["p"])
    return {**_row(found), "shuffled": shuffled, ALONE: alone.agreement["ari"].observed}


def complete(seed: int, count: int, steps: int, tuned: int, draws: int) -> dict[str, Any]:
    """The same of one model of as many neurons, which all hear one another, beside who listens to whom; and tuned."""
    import torch

    from inn.analysis import communities, record, skills
    from inn_studies.family import sources

    data, whole = sources.sources(count, seed), sources.at_once(count, steps, seed)
    with torch.no_grad(), record(whole, "routing") as tape:
        for examples in data.values():
            whole(torch.from_numpy(examples.padded()[0]))
    heard = communities(tape.connectivity(), seed, draws=draws)
    label_of = {n: g for g, group in enumerate(heard["groups"]) for n in group}
    labels = [label_of[n] for n in range(whole.config.neurons)]
    found = skills(whole, data, labels=labels, symbols=512, pairs=PAIRS, draws=draws, lesions=0, seed=seed)
    return {**_row(found), "groups": [len(g) for g in found.communities["groups"]], "routing p": heard["null"]["p"],
            "tuned": _tuned(whole, found, count, tuned, seed)}  # fmt: skip


def _row(found: Any) -> dict[str, float]:
    return {
        ARI: found.agreement["ari"].observed, "p of ARI": found.agreement["ari"].p,
        NMI: found.agreement["nmi"].observed, CHANCE: found.agreement["nmi"].mean,
        P: found.communities["null"]["p"],
    }  # fmt: skip


def _tuned(whole: Any, found: Any, count: int, steps: int, seed: int) -> dict[str, float]:
    """Bits on a source that the model does not know after tuning some of its neurons, and nothing else, on it."""
    from copy import deepcopy

    import torch

    from inn.data.examples import Examples
    from inn.inference.examples import evaluate_examples
    from inn_studies.family import sources

    def new(draw: int, n: int) -> Any:
        drawn = sources.source(count, draw, n)  # the tables of a source that is new, on the symbols of the first
        return Examples(drawn.inputs - 8 * count, drawn.targets - 8 * count, drawn.starts)

    neurons, rng = whole.config.neurons, np.random.default_rng(seed)
    groups = [g for g in found.communities["groups"] if len(g) < neurons] or [list(range(neurons // 2))]
    own = max(groups, key=lambda g: float(found.weights[0, g].mean()))
    chosen = {WHOLE: [], OWN: own, RANDOM: rng.permutation(neurons)[: len(own)].tolist(), ALL: list(range(neurons))}
    bits = {}
    for name, some in chosen.items():
        model, there = deepcopy(whole), torch.zeros(neurons)
        there[some] = 1.0
        inside = {id(p) for p in model.graph.parameters() if p.ndim > 1 and len(p) == neurons}
        masks = {
            key: there.view(-1, *[1] * (p.ndim - 1)) if id(p) in inside else torch.zeros(())
            for key, p in model.named_parameters()
        }
        if some:
            sources.trained(model, {"new": new(7, 400)}, steps, seed, masks)
        bits[name] = evaluate_examples(model.eval(), new(8, 200)).nats / float(np.log(2))
    return bits


class Modules(Entry):
    """Models of six Markov sources: one whose parts are known, and one of neurons that all hear one another."""

    number = 24
    title = "Communities of what is needed together"
    source = (
        "*Unraveling the cognitive patterns of Large Language Models through module communities*, "
        "[arXiv 2508.18192](https://arxiv.org/abs/2508.18192)"
    )
    claim = (
        "modules of language models form communities by the skills that need them, which agree with no known division "
        "of skills, and tuning a community is no better than tuning as many random modules."
    )
    home = "`inn.analysis.skills`"
    control = "importance shuffled over neurons; labels shuffled; random neurons tuned in the place of a community"
    score = "agreement of communities with labels, and bits per symbol of a new source after tuning"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        given = {"count": size.of(2, SOURCES), "steps": size.of(2, 200), "draws": size.of(5, 59)}
        each = range(1, seeds + 1)
        merged = list(lab.compute(planted, {f"planted {s}": {"seed": s, **given} for s in each}).values())
        given["tuned"] = size.of(1, 100)
        whole = list(lab.compute(complete, {f"complete {s}": {"seed": s, **given} for s in each}).values())
        rows = [row(label, {test: [f[test] for f in found] for test in (ARI, "p of ARI", NMI, CHANCE, P)})
                for label, found in ((PLANTED, merged), (COMPLETE, whole))]  # fmt: skip
        rows[0]["scores"][ALONE] = [f[ALONE] for f in merged]
        rows.append(row(SHUFFLED, {P: [p for f in merged for p in f["shuffled"]]}, control=True))
        rows += [
            row(f"complete graph tuned: {name}", {"bits": [f["tuned"][name] for f in whole]}, control=name != OWN)
            for name in (WHOLE, OWN, RANDOM, ALL)
        ]
        return {"rows": rows, "groups": [f["groups"] for f in whole], "routing": [f["routing p"] for f in whole]}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        ari, p = (scores(result, PLANTED, test) for test in (ARI, P))
        chance = scores(result, SHUFFLED, P)
        enough = len(ari) > 2
        free = sum(value > DECIDED for value in chance) / len(chance)
        return [
            Criterion.of("planted parts", f"ARI ≥ {RECOVERED} in 3 of 3 seeds", ", ".join(f"{v:.2f}" for v in ari),
                         min(ari) >= RECOVERED if enough else None),
            Criterion.of("decided", f"p ≤ {DECIDED}", f"most {max(p):.3f}", max(p) <= DECIDED if enough else None),
            Criterion.of("shuffled", f"control: p > {DECIDED} in ≥ 80 %", f"{free:.0%}",
                         free >= 0.8 if enough else None),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        bits = {name: mean(result, f"complete graph tuned: {name}", "bits") for name in (WHOLE, OWN, RANDOM, ALL)}
        return (
            f"by what silencing a neuron costs the ARI is {mean(result, PLANTED, ALONE):.2f}: what stands in for one "
            "another is not missed. So importance is Shapley's here. In the complete graph the neurons that are needed "
            "together and those that listen to one another agree "
            f"with ARI {mean(result, COMPLETE, ARI):.2f} and NMI {mean(result, COMPLETE, NMI):.2f}, where chance has "
            f"an NMI of {mean(result, COMPLETE, CHANCE):.2f} (p of the ARI: "
            f"{', '.join(f'{p:.2f}' for p in scores(result, COMPLETE, 'p of ARI'))}). A new source takes "
            f"{bits[WHOLE]:.2f} bits per symbol, {bits[OWN]:.2f} after tuning the community that the first source "
            f"needs most, {bits[RANDOM]:.2f} after tuning random neurons, {bits[ALL]:.2f} after tuning all."
        )
