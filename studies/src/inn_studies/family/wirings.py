"""18: wirings as programs, found by evolution: a planted one, and random search with as many fits beside it."""

from __future__ import annotations

import statistics
from typing import Any

import torch

import inn
from inn.sweep.programs import Programs
from inn_studies.family.entry import Criterion, Entry, row, scores
from inn_studies.lab import Lab

NEURONS, PARTS, STEPS = 12, 3, 5
PLAN = "ring 0; star 1; copy 0 2; join 0 1; edge 1 2"
"""Five primitives, 31 edges."""
WIDTH, EXAMPLES, FITTING, RATE = 4, 256, 100, 0.02
PRICE = 0.005
"""What an edge costs, as a share of the variance."""
ROUND, ROUNDS = 16, 5
EVOLUTION, RANDOM = "evolution", "random search"
BEST, LIKE, AHEAD = "best score", "edge F1 of the best", "best beyond the first population, sd"
LEAST, SDS = 0.8, 2.0


def examples(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and answers `[count, 1, N]` of neurons that hear along the plan: y = tanh(A x), A on its edges alone."""
    draw = torch.Generator().manual_seed(1000 + seed)
    weights = torch.zeros(NEURONS, NEURONS)
    for to, source in Programs(NEURONS, PARTS, STEPS).edges(PLAN):
        weights[to, source] = 1.0
    sign = torch.randint(0, 2, weights.shape, generator=draw) * 2.0 - 1
    size = 0.7 + 0.6 * torch.rand(weights.shape, generator=draw)
    weights = weights * sign * size / weights.sum(1, keepdim=True).clamp(min=1).sqrt()
    x = torch.randn(count, NEURONS, generator=draw)
    return x[:, None], torch.tanh(x @ weights.T)[:, None]


def fit(program: str, seed: int) -> float:
    """How much of the variance a graph with this wiring tells on held-out examples, each edge at its price.

    A neuron is given its own input and told by its own number alone, so that all else has to come over edges.
    """
    edges = Programs(NEURONS, PARTS, STEPS).edges(program)
    x, y = examples(seed, 2 * EXAMPLES)
    torch.manual_seed(seed)
    graph = inn.Graph(
        neurons=NEURONS, width=WIDTH, rounds=1, memory="none", input="split", readout="concat",
        topology={"kind": "edges", "edges": edges},
    )  # fmt: skip
    given = torch.nn.functional.pad(x[..., None], (0, WIDTH - 1)).flatten(2)
    adam = torch.optim.Adam(graph.parameters(), RATE)

    def told(part: slice) -> torch.Tensor:
        return graph(given[part])[0].unflatten(2, (NEURONS, WIDTH))[..., -1]

    for _ in range(FITTING):
        adam.zero_grad()
        (told(slice(EXAMPLES)) - y[:EXAMPLES]).square().mean().backward()
        adam.step()
    with torch.no_grad():
        held = y[EXAMPLES:]
        unexplained = (told(slice(EXAMPLES, None)) - held).square().mean() / held.var()
    return float(1 - unexplained) - PRICE * len(edges)


def likeness(program: str, plan: str) -> float:
    """F1 of a wiring's edges against another's.

    >>> likeness("ring 0", "ring 0; ring 1")
    0.6666666666666666
    """
    made, planned = ({tuple(e) for e in Programs(NEURONS, PARTS, STEPS).edges(p)} for p in (program, plan))
    return 2 * len(made & planned) / max(1, len(made) + len(planned))


def search(kind: str, fits: int, seed: int) -> dict[str, Any]:
    """A search for the planted wiring, by what fits say alone (for `Lab.compute`)."""
    from inn.sweep.search import load_optuna, sampler

    optuna, programs = load_optuna("entry 18"), Programs(NEURONS, PARTS, STEPS)
    study, tried = optuna.create_study(), []
    for begun in range(fits):
        study.sampler = sampler(begun, kind=kind, space=programs.space(), seed=seed + 1)
        trial = study.ask()
        program = programs.text(programs.space().suggest(trial))
        tried.append((fit(program, seed), program))
        study.tell(trial, -tried[-1][0])
    (best, program), first = max(tried), [score for score, _ in tried[:ROUND]]
    return {
        "best": best,
        "program": program,
        "like": likeness(program, PLAN),
        "sds": (best - statistics.mean(first)) / statistics.stdev(first),
        "rounds": [max(tried[: n + ROUND])[0] for n in range(0, fits, ROUND)],
    }


class Wirings(Entry):
    """Evolution over programs and random search over the same, on a planted wiring of five primitives."""

    number = 18
    title = "Searching for wirings"
    source = (
        "*Symbolic Synthesis of Neural Networks*, [arXiv 2303.03340](https://arxiv.org/abs/2303.03340), without its "
        "library learning"
    )
    claim = (
        "programs of a small grammar make graphs, and a population of them, trained and halved in each round, comes to "
        "ones that fit."
    )
    home = "`inn sweep --sampler evolution --topologies`, `inn.sweep.programs`"
    control = "random search over the same programs with as many fits; the first population"
    score = (
        f"variance told of held-out examples less {PRICE} an edge, the best of {ROUND * ROUNDS} fits; N = {NEURONS}, "
        f"planted `{PLAN}`"
    )

    def sizes(self) -> dict[str, Any]:
        sizes = super().sizes()
        return {**sizes, "cpu": type(sizes["cpu"])("cpu", 5, 1)}

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        fits = size.of(3, ROUND * ROUNDS)
        rows = []
        for label, kind in ((EVOLUTION, "evolution"), (RANDOM, "random")):
            cases = {f"{label} {s}": {"kind": kind, "fits": fits, "seed": s} for s in range(seeds)}
            runs = list(lab.compute(search, cases).values())
            found = {BEST: "best", LIKE: "like", AHEAD: "sds"}
            rows.append(row(label, {n: [run[k] for run in runs] for n, k in found.items()}, control=label == RANDOM))
            rows[-1] |= {"programs": [run["program"] for run in runs], "rounds": [run["rounds"] for run in runs]}
        return {"rows": rows, "planted": {"program": PLAN, "scores": [fit(PLAN, s) for s in range(seeds)]}}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        def middle(label: str, test: str) -> float:
            return statistics.median(scores(result, label, test))

        enough = len(scores(result, EVOLUTION, BEST)) > 4
        sds, like = middle(EVOLUTION, AHEAD), middle(EVOLUTION, LIKE)
        ours, theirs = middle(EVOLUTION, BEST), middle(RANDOM, BEST)
        return [
            Criterion.of(
                "first population", f"≥ {SDS:g} sd above its mean, median of 5", f"{sds:.1f} sd",
                sds >= SDS if enough else None,
            ),
            Criterion.of(
                "control: random search", "evolution's best is better, median of 5", f"{ours:.3f} against {theirs:.3f}",
                ours > theirs if enough else None,
            ),
            Criterion.of(
                "the plan", f"edge F1 ≥ {LEAST}, median of 5", f"{like:.2f}", like >= LEAST if enough else None
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        planted = statistics.median(result["planted"]["scores"])
        ours, theirs = (scores(result, label, BEST) for label in (EVOLUTION, RANDOM))
        ahead = sum(a > b for a, b in zip(ours, theirs, strict=True))
        like = statistics.median(scores(result, RANDOM, LIKE))
        return (
            f"the planted wiring itself scores {planted:.3f}; evolution is ahead of random search in {ahead} of "
            f"{len(ours)} seeds, whose best has an edge F1 of {like:.2f}."
        )
