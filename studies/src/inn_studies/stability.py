"""The 3.438 BPC of the Mamba stack taken apart: feeding, embedding and learning rate, for stack and graph."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inn.runs.directory import Run
from inn_studies import compressors
from inn_studies.lab import Lab, status
from inn_studies.paper import TABLE_2
from inn_studies.rows import facts, jobs, markdown, model_settings, spread
from inn_studies.sizes import TEXT8, Fields, Size, distinct, published
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

MODELS = ("Mamba stack", "Mamba stack, transposed", "published graph", "distinct graph")
PUBLISHED_EMBEDDING = ", N(0, 1)"
"""Ends the label of a model whose embedding starts at the published standard deviation, 1 instead of 0.02."""
KEPT = 0.1
"""Bits above its own best within which a model counts as still training well."""


def _models(stack: Fields, graph: Fields, differing: Fields) -> dict[str, Fields]:
    fields = ({"kind": "mamba-stack", **stack}, {"kind": "mamba-stack-transposed", **stack}, graph, differing)
    return {
        f"{label}{end}": {**of, "embedding_std": std}
        for std, end in ((0.02, ""), (1.0, PUBLISHED_EMBEDDING))
        for label, of in zip(MODELS, fields, strict=True)
    }


_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
SIZES = {
    "smoke": replace(
        TEXT8["smoke"],
        rates=(1e-2,),
        models=_models(
            {"width": 16, "layers": 2},
            published(neurons=3, width=16, rounds=2, heads=2),
            distinct(neurons=3, width=12, rounds=2, heads=2),
        ),
    ),
    "cpu": replace(
        TEXT8["cpu"].but(train_symbols=1_000_000, train_log_every=4, train_eval_symbols=100_000),
        rates=_RATES,
        seeds=1,
        models=_models(
            {"width": 104, "layers": 3},
            published(neurons=4, width=80, rounds=3),
            distinct(neurons=4, width=40, rounds=3),
        ),
    ),
    "gpu": replace(
        TEXT8["gpu"].but(train_symbols=20_000_000, train_log_every=4),
        rates=_RATES,
        seeds=1,
        models=_models(
            {"width": 320, "layers": 6},
            {"kind": "inn", "preset": "paper-fixed"},
            distinct(neurons=8, width=96, rounds=5),
        ),
    ),
}
"""A quarter of a million parameters and 1 M characters on a CPU; the published size and 20 M characters on a GPU."""


class Stability(Study):
    name = "stability"
    source = "Table 2 and section 3.1, the Mamba stack"
    question = "Why does the paper's Mamba stack stay at 3.438 BPC, and is a graph more stable than a stack?"

    def sizes(self) -> dict[str, Size]:
        return SIZES

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        sweeps = {
            label: {rate: jobs(size, label, model_settings(size, label), [rate], range(seeds)) for rate in size.rates}
            for label in size.models
        }
        lab.train([job for sweep in sweeps.values() for group in sweep.values() for job in group])
        rows, floors = [], {}
        for label, sweep in sweeps.items():
            runs = {rate: lab.train(group) for rate, group in sweep.items()}
            first = runs[size.rates[0]][0]
            floors = (first.summary() or {})["floors"]
            points = [{"lr": rate, **point(group)} for rate, group in runs.items()]
            rows.append({"label": label, "points": points, **facts(first)})
        return {"rows": rows, "floors": floors}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.validated(result["rows"][0])]

    def table(self, result: dict[str, Any]) -> str:
        rows = {row["label"]: row for row in result["rows"]}
        rates = [at["lr"] for at in result["rows"][0]["points"]]
        bits = markdown(
            ["final validation BPC at learning rate", "parameters:", *(f"{rate:g}:" for rate in rates)],
            [[label, f"{row['parameters']:,}", *map(_cell, row["points"])] for label, row in rows.items()],
        )
        norms = markdown(
            ["model", "first loss:", "median norm:", "largest norm:", "clipped steps:", "still good at:"],
            [[label, *_gradients(row["points"])] for label, row in rows.items()],
        )
        floors = ", ".join(f"{name} {bits:.3f}" for name, bits in result["floors"].items())
        return (
            f"{rates_note(result)} Floors: {floors}.\n\n{bits}\n\nGradients at the highest learning rate, before "
            f"clipping, seed 0 (the first loss is in bits); the last column is the highest rate within {KEPT} bits "
            f"of the model's own best:\n\n{norms}\n\n{why(rows)}"
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        styles = {"": "-", PUBLISHED_EMBEDDING: "--"}
        for row in result["rows"]:
            end = PUBLISHED_EMBEDDING if row["label"].endswith(PUBLISHED_EMBEDDING) else ""
            base = row["label"].removesuffix(PUBLISHED_EMBEDDING)
            points = [(at["lr"], statistics.mean(at["bits"])) for at in row["points"] if at["bits"]]
            axes.plot(
                [rate for rate, _ in points],
                [bits for _, bits in points],
                styles[end],
                marker="o",
                color=f"C{MODELS.index(base)}",
                label=row["label"],
            )
        axes.axhline(result["floors"]["bigram"], linestyle=":", color="grey", label="bigram floor")
        uniform = result["floors"]["uniform"]  # what is worse than knowing nothing is off the picture, in the table
        axes.set(
            xscale="log", xlabel="peak learning rate", ylabel=f"final validation BPC (above {uniform:.2f}: not shown)"
        )
        lowest = min(min(at["bits"]) for row in result["rows"] for at in row["points"] if at["bits"])
        axes.set_ylim(lowest - 0.1, uniform)
        axes.legend(fontsize="small", loc="upper right")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        rows = {row["label"]: row for row in result["rows"]}
        return [stack_verdict(rows, result["floors"]), topology_verdict(rows)]


def point(runs: list[Run]) -> dict[str, Any]:
    """One model at one learning rate: final validation bits of the seeds that ended, and the first seed's gradients."""
    ended = [run.summary() or {} for run in runs if status(run) == "finished"]
    return {
        "bits": [summary["validation"]["bits"] for summary in ended],
        "diverged": len(runs) - len(ended),
        "gradients": gradients(runs[0].metrics(), runs[0].config().train.clip),
    }


def gradients(metrics: list[dict[str, Any]], clip: float) -> dict[str, float] | None:
    """What a run's log says of its gradient norms (one per log line); None where it broke before the first."""
    lines = [line for line in metrics if line["event"] == "train"]
    if not lines:
        return None
    norms = [line["grad_norm"] for line in lines]
    return {
        "first_bits": lines[0]["bits"],
        "median_norm": statistics.median(norms),
        "largest_norm": max(norms),
        "clipped_share": sum(norm > clip for norm in norms) / len(norms) if clip else 0.0,
    }


def best(row: dict[str, Any]) -> tuple[float, float]:
    """A model's best final bits, mean over seeds, and the learning rate of it; infinite where all runs diverged."""
    means = [(statistics.mean(at["bits"]), at["lr"]) for at in row["points"] if at["bits"] and not at["diverged"]]
    return min(means, default=(float("inf"), row["points"][0]["lr"]))


def highest_good(row: dict[str, Any]) -> float | None:
    """The highest learning rate at which a model, on every seed, ends within `KEPT` bits of its own best."""
    limit = best(row)[0] + KEPT
    good = [
        at["lr"] for at in row["points"] if at["bits"] and not at["diverged"] and statistics.mean(at["bits"]) <= limit
    ]
    return max(good, default=None)


def nearest_floor(bits: float, floors: dict[str, float]) -> str:
    """The table of counts that predicts most nearly as well.

    >>> nearest_floor(3.5, {"unigram": 4.1, "bigram": 3.4, "trigram": 2.9})
    'bigram'
    """
    return min(floors, key=lambda name: abs(floors[name] - bits))


def stack_verdict(rows: dict[str, Any], floors: dict[str, float]) -> Verdict:
    """What became of the stack that does not converge."""
    right, wrong = (min(best(rows[label + end])[0] for end in ("", PUBLISHED_EMBEDDING)) for label in MODELS[:2])
    at = nearest_floor(wrong, floors)
    shown = f"fed correctly {right:.3f} BPC, transposed {wrong:.3f} BPC, bigram table {floors['bigram']:.3f}"
    claim, paper = "a stack of Mamba blocks does not converge", f"{TABLE_2['mamba-stack']} BPC (Table 2)"
    graph = best(rows["published graph"])[0]
    if min(right, graph) >= floors["bigram"]:
        return Verdict(
            claim, paper, shown, "not measured", "these runs are too short for any model to pass the bigrams"
        )
    if right >= min(wrong, floors["bigram"]):
        return Verdict(claim, paper, shown, "reproduced", "fed correctly it is no better than transposed, or a table")
    if at == "bigram":
        because = "the published stack is fed with batch and time exchanged, and then can learn no more than a bigram"
        return Verdict(claim, paper, shown, "artefact", because)
    return Verdict(
        claim, paper, shown, "not reproduced", f"fed correctly it learns; transposed it ends nearest to the {at} table"
    )


def topology_verdict(rows: dict[str, Any]) -> Verdict:
    """What became of the graph that lends stability, by the highest learning rate that each one stands."""
    stack, graphs = MODELS[0], MODELS[2:]
    shown, ahead = [], []
    for end in ("", PUBLISHED_EMBEDDING):
        good = {label: highest_good(rows[label + end]) or 0.0 for label in (stack, *graphs)}
        shown += [f"{label}{end} up to lr {rate:g}" if rate else f"{label}{end} never" for label, rate in good.items()]
        ahead += [label + end for label in graphs if good[label] > good[stack]]
    because = f"ahead of the stack with the same embedding: {' and '.join(ahead) if ahead else 'no graph'}"
    outcome = (
        "reproduced" if set(ahead) >= {f"{MODELS[2]}{end}" for end in ("", PUBLISHED_EMBEDDING)} else "not reproduced"
    )
    paper = "the graph converges, the stack does not (3.1)"
    return Verdict("topology gives training stability", paper, "; ".join(shown), outcome, because)


def why(rows: dict[str, Any]) -> str:
    """What the embedding at N(0, 1) does to each model at its best learning rate, and to the first loss."""
    parts = []
    for label in MODELS:
        small, large = rows[label], rows[label + PUBLISHED_EMBEDDING]
        starts = [row["points"][0]["gradients"] for row in (small, large)]
        first = " → ".join("–" if start is None else f"{start['first_bits']:.1f}" for start in starts)
        ends = " → ".join(f"{best(row)[0]:.3f}" for row in (small, large))
        parts.append(f"{label}: first loss {first} bits, best result {ends} BPC")
    return f"Embedding started at 0.02 → at N(0, 1): {'; '.join(parts)}."


def rates_note(result: dict[str, Any]) -> str:
    """The scale in a sentence."""
    row = result["rows"][0]
    return (
        f"{row['symbols']:,} symbols of {row['data']['name']} per run, "
        f"{len(row['points'][0]['bits']) + row['points'][0]['diverged']} per cell."
    )


def _cell(at: dict[str, Any]) -> str:
    if not at["diverged"]:
        return spread(at["bits"])
    return f"{at['diverged']} diverged" + (f", {spread(at['bits'])}" if at["bits"] else "")


def _gradients(points: list[dict[str, Any]]) -> list[str]:
    found = points[-1]["gradients"]
    good = highest_good({"points": points})
    shown = "–" if good is None else f"{good:g}"
    if found is None:
        return ["–", "–", "–", "–", shown]
    return [
        f"{found['first_bits']:.1f}",
        f"{found['median_norm']:.2f}",
        f"{found['largest_norm']:.3g}",
        f"{found['clipped_share']:.0%}",
        shown,
    ]
