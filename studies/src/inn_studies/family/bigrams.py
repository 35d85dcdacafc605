"""34: the few weights of a graph of neurons that predict like a table of pairs, and what is left without them."""

from __future__ import annotations

from typing import Any

from inn_studies.family.entry import Criterion, Entry, row, scores
from inn_studies.lab import Job, Lab

GRAPH: dict[str, Any] = {"neurons": 4, "width": 24, "rounds": 2, "recall": "none"}
BATCH, WINDOW, SEARCHED = 8, 128, 200_000
"""Of a step of training; symbols of the validation part that the table, the masks and the scores are of."""
KEEP = 0.05
NEAR, FAR, NEEDED, BY_ITSELF = 0.05, 3.0, 1.0, 0.3
PART, WHOLE = "the part", "the whole model"
RANDOM, LARGEST, UNTRAINED = "random weights, as many of each tensor", "the largest weights", "of an untrained model"
APART, LEFT = "nats to the table", "bits without it"


def job(seed: int, corpus: str, steps: int) -> Job:
    """The run of a graph on a text, windows drawn at random, each from nothing."""
    settings = {
        "data.corpus": corpus, "data.limit": 1_000_000, "data.batch": BATCH, "data.window": WINDOW,
        "data.order": "random", "train.symbols": steps * BATCH * WINDOW, "train.lr": 1e-2, "train.schedule": "cosine",
        "train.seed": seed, "train.log_every": 100, "train.eval_every": 1000, "train.eval_symbols": 20_000,
        **{f"model.{name}": value for name, value in GRAPH.items()},
    }  # fmt: skip
    return Job(f"bigrams {seed}", "study-smoke", settings)


def part_of(run: str, search: int, seed: int) -> dict[str, Any]:
    """The part of a trained graph that tells bigrams, and the controls (for `Lab.measure`)."""
    from inn.analysis import bigram, subnetwork
    from inn.runs.load import load_with_data

    model, data = load_with_data(run)
    target = bigram(data.split("valid")[:SEARCHED], data.vocabulary.size)
    return subnetwork(model, target=target, keep=KEEP, steps=search, seed=seed).to_dict()


class Bigrams(Entry):
    """A graph of text, and the part of it that is a table of pairs."""

    number = 34
    title = "The smallest part that predicts like a table"
    source = "*Bigram Subnetworks*, [arXiv 2504.15471](https://arxiv.org/abs/2504.15471)"
    claim = (
        "less than 0.2 % of the parameters of a language model of up to 1 billion predict like a table of pairs of "
        "symbols, and the model needs them."
    )
    home = "`inn.analysis.subnetwork`, `inn.analysis.bigram`, `inn analyze RUN --subnetwork bigram`"
    control = (
        "as many weights of each tensor drawn at random; the largest weights; the same search in an untrained model"
    )
    score = "divergence from the table of pairs, in nats, and bits per character of the text without these weights"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        corpus, steps, search = size.of("pydoc", "text8-69m"), size.of(3, 600), size.of(10, 350)
        runs = lab.train([job(seed, corpus, steps) for seed in range(seeds)])
        found = [lab.measure(part_of, [run], search=search, seed=seed)[0] for seed, run in enumerate(runs)]

        def each(name: str) -> list[float]:
            return [of[name] for of in found]

        rows = [
            row(PART, {APART: each("loss"), LEFT: each("ablated"), "kept": each("kept")}),
            row(WHOLE, {APART: each("full"), LEFT: each("whole")}),
            row(RANDOM, {APART: each("random"), LEFT: each("ablated_random")}, control=True),
            row(LARGEST, {APART: each("largest")}, control=True),
            row(UNTRAINED, {APART: each("untrained")}, control=True),
        ]
        return {"rows": rows, "entropy": each("entropy"), "by_part": each("by_part")}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        part, kept = scores(result, PART, APART), scores(result, PART, "kept")
        ahead = [r - p for r, p in zip(scores(result, RANDOM, APART), part, strict=True)]
        needed = [a - r for a, r in zip(scores(result, PART, LEFT), scores(result, RANDOM, LEFT), strict=True)]
        fresh = scores(result, UNTRAINED, APART)
        return [
            Criterion.of("close", f"≤ {NEAR} nat at ≤ {KEEP:.0%} of the weights",
                         f"{max(part):.3f} at {max(kept):.1%} at most", max(part) <= NEAR and max(kept) <= KEEP),
            Criterion.of("random", f"≥ {FAR:g} nats worse", f"{min(ahead):.1f} at least", min(ahead) >= FAR),
            Criterion.of("needed", f"≥ {NEEDED:g} bit worse without it than without as many at random",
                         f"{min(needed):.2f} at least", min(needed) >= NEEDED),
            Criterion.of("untrained", f"≥ {BY_ITSELF} nat off by the same search", f"{min(fresh):.2f} at least",
                         min(fresh) >= BY_ITSELF),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        parts: dict[str, list[float]] = {}
        for seed in result["by_part"]:
            for name, share in seed.items():
                kind = name.removesuffix(".weight").removesuffix("_weight").split(".")[-1]
                parts.setdefault(kind, []).append(share)
        shares = {kind: sum(of) / len(of) for kind, of in parts.items()}
        said = ", ".join(f"{share:.1%} of {kind}" for kind, share in sorted(shares.items(), key=lambda p: -p[1]))
        return f"what is kept: {said}. The table itself is unsure of {result['entropy'][0]:.2f} nats."
