"""15: attention whose weights are a learned series, and other activations beside the softmax, on text."""

from __future__ import annotations

from typing import Any

from inn.models.build import parameters_of
from inn_studies.family.entry import Criterion, Entry, mean, row
from inn_studies.lab import Job, Lab

GRAPH = {
    "model.kind": "inn", "model.neurons": 8, "model.width": 16, "model.rounds": 2, "model.router": "attention",
    "model.router.heads": 2, "model.recall": "none",
}  # fmt: skip
SOFTMAX, FOURIER = "softmax", "fourier"
KINDS: dict[str, dict[str, Any]] = {
    SOFTMAX: {},
    "softmax with a sink": {"model.router.sink": True},
    "sigmoid": {"model.router.activation": "sigmoid"},
    "relu2": {"model.router.activation": "relu2"},
    "stick": {"model.router.activation": "stick"},
    FOURIER: {"model.router.activation": "fourier"},
    "no messages": {"model.router": "none"},
}
BITS, NEAR, RATE = "bits per character", 0.03, 5e-3
TERMS, RANK, HEADS, NEURONS, ROUNDS = 3, 12, 2, 8, 2


def job(label: str, seed: int, symbols: int, corpus: str) -> Job:
    """The training run of a row."""
    own = {**GRAPH, **KINDS[label]}
    if own["model.router"] == "none":
        del own["model.router.heads"]
    reading = {"data.corpus": corpus, "data.batch": 16, "data.window": 128, "train.symbols": symbols}
    often = {"train.eval_every": 1000, "train.eval_symbols": 20_000, "train.sample_every": 0, "train.lr": RATE}
    return Job(f"activation {label} {seed}", "text8-last", {**reading, **often, "train.seed": seed, **own})


def bits(run: str, most: int) -> float:
    """Bits per character of the test part's first characters (for `Lab.measure`)."""
    from inn.inference.held_out import evaluate_run

    return evaluate_run(run, "test", limit=most)["bits"]


class Activations(Entry):
    """One small graph with attention of each kind, and with none."""

    number = 15
    title = "Attention by a learned series"
    source = "*Kolmogorov-Arnold Attention*, [arXiv 2503.10632](https://arxiv.org/abs/2503.10632)"
    claim = (
        "a Fourier series learned in place of the softmax is better in small vision transformers (CIFAR-10, 72.8 to "
        "76.7) and worse in large ones."
    )
    home = "router `attention`: `activation: softmax | sigmoid | relu2 | stick | fourier`, `sink`"
    control = "the softmax; no messages at all"
    score = "bits per character of text8, after one short pass at one learning rate; less is better"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        symbols, corpus = size.of(4096, 400_000), size.of("pydoc", "text8-69m")
        jobs = {label: [job(label, seed, symbols, corpus) for seed in range(seeds)] for label in KINDS}
        runs = iter(lab.train([one for own in jobs.values() for one in own]))
        rows = []
        for label, own in jobs.items():
            measured = lab.measure(bits, [next(runs) for _ in own], most=size.of(2000, 100_000))
            found = [score for score in measured if score is not None]
            rows.append(
                row(label, {BITS: found}, control=label in (SOFTMAX, "no messages"), lr=RATE,
                    parameters=parameters_of(own[0].config().model), finished=len(found) == seeds)
            )  # fmt: skip
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        rows = {r["model"]: r for r in result["rows"]}
        more = rows[FOURIER]["parameters"] - rows[SOFTMAX]["parameters"]
        expected = ROUNDS * HEADS * (2 * TERMS * RANK * NEURONS + NEURONS * RANK)
        behind = mean(result, FOURIER, BITS) - mean(result, SOFTMAX, BITS)
        stopped = [label for label, r in rows.items() if not r["finished"]]
        return [
            Criterion.of("trains", "every activation, to the end", ", ".join(stopped) or "all do", not stopped),
            Criterion.of(
                "parameters", "2 G r N + N r by head and round", f"{more:,} of {expected:,}", more == expected
            ),
            Criterion.of("series", f"within {NEAR} bits of the softmax", f"{behind:+.3f}", behind <= NEAR),
        ]

    def found(self, result: dict[str, Any]) -> str:
        base = mean(result, SOFTMAX, BITS)
        told = ", ".join(f"{label} {mean(result, label, BITS) - base:+.3f}" for label in KINDS if label != SOFTMAX)
        return f"bits against the softmax's {base:.3f}: {told}."
