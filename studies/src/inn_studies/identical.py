"""The neurons of the published form are one neuron, N times over: spread, attention, and what it collapses to."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from inn.models.inn import INN
from inn.system.errors import InputError
from inn_studies.lab import Lab
from inn_studies.rows import facts, markdown, model_settings, tune
from inn_studies.sizes import TEXT8, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    from torch import Tensor

MODELS = ("inn-paper-fixed", "inn-distinct")
PUBLISHED = "inn-paper-fixed"
SAME = 1e-4
"""Spread (of the neurons' size), deviation of attention and bits up to which all is rounding."""


class Identical(Study):
    name = "identical"
    source = "section 2, Table 2: the population"
    question = "How many neurons does the published form amount to, and what is left when they are made one?"

    def sizes(self) -> dict[str, Size]:
        return TEXT8

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        tuned = tune(lab, size, {label: model_settings(size, label) for label in MODELS}, seeds)
        rows = []
        for model in tuned:
            first = model.runs[0]
            rows.append(
                {
                    "label": model.label,
                    "lr": model.rate,
                    "population": lab.measure(population, model.runs),
                    "collapsed": lab.measure(collapsed, model.runs, limit=size.scored),
                    "curve": [(x["step"], x["effective_neurons"]) for x in first.metrics() if x["event"] == "train"],
                    **facts(first),
                }
            )
        return {"rows": rows}

    def table(self, result: dict[str, Any]) -> str:
        spread = markdown(
            ["model", "when", "spread of the neurons:", "attention from 1/N:", "effective neurons:"],
            [
                [row["label"], when, *_population([p[when] for p in _known(row["population"])], row)]
                for row in result["rows"]
                for when in ("untrained", "trained", "trained, dropout on")
            ],
        )
        costs = markdown(
            ["model", "neurons:", "BPC:", "collapsed:", "difference:", "forward FLOPs:", "graph FLOPs:", "time:"],
            [[row["label"], *_collapsed(_known(row["collapsed"]))] for row in result["rows"]],
        )
        refused = [c["refused"] for row in result["rows"] for c in _known(row["collapsed"])[:1] if "refused" in c]
        note = "".join(f"\n\n`collapse()` refuses the distinct population: {reason}." for reason in refused)
        row = result["rows"][0]
        return (
            f"{row['symbols']:,} symbols of {row['data']['name']}, measured on held-out text. *Spread*: root mean "
            "square distance of a neuron from the population's mean, in units of that mean's own size, after the last "
            "round. *Attention from 1/N*: root mean square over rounds, heads, pairs and symbols, in units of 1/N. "
            f"Means over seeds.\n\n{spread}\n\nMade one neuron by `inn.collapse` (costs as a share of the whole "
            "population's; time of a forward pass over the same windows, in one sitting; the head is paid once in any "
            f"case):\n\n{costs}{note}"
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        for row in result["rows"]:
            neurons = row["config"]["model"]["neurons"]
            axes.plot(*zip(*row["curve"], strict=True), label=f"{row['label']}, {neurons} neurons")
        axes.set(xlabel="training step", ylabel="effective neurons", ylim=(0.9, None))
        axes.axhline(1.0, linestyle=":", color="grey")
        axes.legend()
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        row = next(row for row in result["rows"] if row["label"] == PUBLISHED)
        return [population_verdict(row), attention_verdict(row)]


def population(run: str) -> dict[str, dict[str, float]]:
    """How far the neurons of a run are from one another on held-out text (a measure for `Lab.measure`).

    By moment: `untrained` (the same weights as at the run's first step), `trained`, and `trained, dropout on` (with the
    dropout of training, which is all that tells published neurons apart).
    """
    import torch

    from inn.nn.modes import as_tokens
    from inn.runs.directory import Run
    from inn.runs.load import load_with_data

    model, dataset = load_with_data(run)
    assert isinstance(model, INN)
    length = min(512, len(dataset.valid) // 8)
    tokens = as_tokens(dataset.valid[: 8 * length], torch.device("cpu")).view(8, length)
    torch.manual_seed(Run(run).config().train.seed)
    fresh = INN(model.config).eval()
    found = {"untrained": apartness(fresh, tokens), "trained": apartness(model, tokens)}
    found["trained, dropout on"] = apartness(model.train(), tokens)
    return found


def apartness(model: INN, tokens: Tensor) -> dict[str, float]:
    """How far neurons are from one another on `tokens` `[B, T]`, in the mode that the model is in.

    Returns:
        spread: sqrt(E|x_n - x̄|² / E|x̄|²) after the last round, x̄ the mean over neurons;
        attention: sqrt(E(w_ij - 1/N)²) · N over rounds, heads, pairs and symbols; 0 is exactly uniform;
        effective: effective neurons (`inn.analysis.effective_neurons`).
    """
    import torch

    from inn.analysis import effective_neurons
    from inn.analysis.recording.record import record

    with torch.no_grad(), record(model, "outputs", "routing") as tape:
        model(tokens)
    assert tape.last_outputs is not None
    x = tape.last_outputs.double()
    mean = x.mean(2, keepdim=True)
    off = tape.mean("routing") - 1 / model.config.neurons
    attention = (tape.variance("routing") + off.square()).mean().sqrt() * model.config.neurons
    return {
        "spread": math.sqrt(float((x - mean).square().mean() / mean.square().mean())),
        "attention": float(attention),
        "effective": effective_neurons(tape.last_outputs),
    }


def collapsed(run: str, limit: int | None) -> dict[str, Any]:
    """A run's model beside the one neuron it collapses to, on held-out text (a measure for `Lab.measure`).

    Bits of both; costs of the one as a share of the population's: analytic forward FLOPs (all, and without the head)
    and the time of a forward pass. Where neurons differ, `refused` says why.
    """
    from inn.inference.evaluate import evaluate
    from inn.runs.load import load_with_data
    from inn.surgery.collapse import collapse
    from inn_studies.rows import STREAMS

    model, dataset = load_with_data(run)
    assert isinstance(model, INN)
    text = dataset.valid[:limit]
    found: dict[str, Any] = {"neurons": model.config.neurons}
    try:
        one = collapse(model)
    except InputError as error:
        return {**found, "bits": evaluate(model, text, streams=STREAMS).bits, "refused": str(error)}
    costs = [m.flops() for m in (one, model)]
    whole = [sum(c.values()) for c in costs]
    graph = [total - c["head"] for total, c in zip(whole, costs, strict=True)]
    return {
        **found,
        "bits": evaluate(model, text, streams=STREAMS).bits,
        "one_bits": evaluate(one, text, streams=STREAMS).bits,
        "flops_ratio": whole[0] / whole[1],
        "graph_flops_ratio": graph[0] / graph[1],
        "time_ratio": time_ratio(one, model, text),
    }


def time_ratio(first: INN, second: INN, text: Any, repeats: int = 7) -> float:
    """Median time of a forward pass of one model over another's: the same windows, taken in turn."""
    import time

    import torch

    from inn.nn.modes import as_tokens

    length = min(256, len(text) // 8)
    tokens = as_tokens(text[: 8 * length], torch.device("cpu")).view(8, length)
    taken: list[list[float]] = [[], []]
    with torch.no_grad():
        for _ in range(repeats + 1):
            for model, times in zip((first, second), taken, strict=True):
                began = time.perf_counter()
                model(tokens)
                times.append(time.perf_counter() - began)
    return statistics.median(taken[0][1:]) / statistics.median(taken[1][1:])


def population_verdict(row: dict[str, Any]) -> Verdict:
    """What became of the population: how many neurons it is."""
    moments, costs = _known(row["population"]), _known(row["collapsed"])
    claim, paper = "a population of communicating neurons", "32 neurons (section 3, Table 2)"
    if not moments or not costs:
        return Verdict(claim, paper, "–", "not measured", "every run diverged")
    effective = statistics.mean(p["trained"]["effective"] for p in moments)
    spread = max(p["trained"]["spread"] for p in moments)
    n = costs[0]["neurons"]
    if any("refused" in c for c in costs):
        because = f"the neurons differ: {next(c['refused'] for c in costs if 'refused' in c)}"
        return Verdict(claim, paper, f"{effective:.2f} effective neurons of {n}", "reproduced", because)
    apart = max(abs(c["one_bits"] - c["bits"]) for c in costs)
    shown = f"{effective:.2f} effective neurons of {n}; one neuron alone: {apart:.1e} BPC apart"
    if spread <= SAME and apart <= SAME:
        because = f"in evaluation all neurons are equal (spread {spread:.1e}); collapse() keeps one of them"
        return Verdict(claim, paper, shown, "artefact", because)
    return Verdict(claim, paper, shown, "reproduced", f"the neurons differ (spread {spread:.1e})")


def attention_verdict(row: dict[str, Any]) -> Verdict:
    """What became of the learned routing: how far attention is from the same for all."""
    claim, paper = "routing is learned: whom to listen to", "content-based attention (section 2)"
    moments = _known(row["population"])
    if not moments:
        return Verdict(claim, paper, "–", "not measured", "every run diverged")
    off = max(p["trained"]["attention"] for p in moments)
    shown = f"attention deviates from 1/N by {off:.1e} of it"
    if off <= SAME:
        return Verdict(claim, paper, shown, "artefact", "equal neurons get equal weights, whatever was learned")
    return Verdict(claim, paper, shown, "reproduced", "attention prefers some neurons to others")


def _known(measured: list[Any]) -> list[Any]:
    return [m for m in measured if m is not None]


def _population(moments: list[dict[str, float]], row: dict[str, Any]) -> list[str]:
    if not moments:
        return ["–", "–", "–"]
    spread, attention, effective = (
        statistics.mean(m[name] for m in moments) for name in ("spread", "attention", "effective")
    )
    return [f"{spread:.2g}", f"{attention:.2g}", f"{effective:.2f} of {row['config']['model']['neurons']}"]


def _collapsed(costs: list[dict[str, Any]]) -> list[str]:
    if not costs:
        return ["–"] * 7
    n, bits = f"{costs[0]['neurons']}", f"{statistics.mean(c['bits'] for c in costs):.3f}"
    if "refused" in costs[0]:
        return [n, bits, "refused", "–", "–", "–", "–"]
    one = statistics.mean(c["one_bits"] for c in costs)
    apart = max((c["one_bits"] - c["bits"] for c in costs), key=abs)
    ratios = [statistics.mean(c[name] for c in costs) for name in ("flops_ratio", "graph_flops_ratio", "time_ratio")]
    return [n, bits, f"{one:.3f}", f"{apart:+.1e}", *(f"1/{1 / ratio:.1f}" for ratio in ratios)]
