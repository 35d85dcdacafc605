"""Section 3.4: the generalisation gap, training text against held-out text, over training and at its end."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

import numpy as np

from inn_studies.lab import Lab
from inn_studies.paper import GAP_PERPLEXITY
from inn_studies.rows import facts, markdown, model_settings, spread, tune
from inn_studies.sizes import TEXT8, Size
from inn_studies.study import Study, Verdict
from inn_studies.text8 import MODELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    from inn.config.run import RunConfig
    from inn.models.sequence import SequenceModel

INN_PAPER, RIVAL = "inn-paper-fixed", "transformer-paper"
ROWS = 16
"""Stretches of text that a part is scored on, side by side."""
WARMUP = 256
"""Symbols at the start of each stretch that are read but not scored."""
RISE = 0.01
"""Bits by which held-out loss must end above its best to count as overfitting."""


class Gap(Study):
    name = "gap"
    source = "section 3.4"
    question = "How much better does a model predict text it has read than text it has not?"

    def sizes(self) -> dict[str, Size]:
        return TEXT8

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        tuned = tune(lab, size, {label: model_settings(size, label) for label in MODELS}, seeds)
        limit = 200_000 if size.scored is None else min(200_000, size.scored)
        rows = []
        for model in tuned:
            parts = [p for p in lab.measure(parts_bits, model.runs, limit=limit) if p is not None]
            curve = over_training(model.runs[0].metrics())
            rows.append(
                {"label": model.label, "lr": model.rate, "parts": parts, "curve": curve, **facts(model.runs[0])}
            )
        return {"rows": rows}

    def table(self, result: dict[str, Any]) -> str:
        head = [
            "model",
            "fresh, last:",
            "read:",
            "not read:",
            "held out:",
            "gap:",
            "of it memory:",
            "gap, PPL:",
            "rise:",
        ]
        row = result["rows"][0]
        scored = next((f"{p['scored']:,}" for r in result["rows"] for p in r["parts"]), "–")
        return (
            f"{row['symbols']:,} symbols of {row['data']['name']}, {_passes(row):.2g} passes over its training part. "
            "BPC; *fresh*: training loss over the last stretch of training, on text not read before (dropout on, the "
            f"model still changing); then the finished model, {scored} symbols of each: *read*, the training text it "
            "read last; *not read*, the training text right after that; *held out*, validation. *Gap*: held out less "
            "read. *Memory*: not read less read; the rest is the difference between the texts. *PPL*: the gap in "
            "perplexity per character. *Rise*: last less best validation.\n\n"
            + markdown(head, [[r["label"], *_cells(r)] for r in result["rows"]])
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        for row in result["rows"]:
            curve = row["curve"][1:]  # the first training loss is a mean over the fall from chance
            steps = [step for step, _, _ in curve]
            axes.plot(steps, [valid - train for _, train, valid in curve], label=row["label"])
        axes.axhline(0.0, linestyle=":", color="grey")
        axes.set(xlabel="training step", ylabel="validation less training BPC", title="Gap over training, seed 0")
        figure.legend(loc="outside right upper", fontsize="small")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        rows = {row["label"]: row for row in result["rows"]}
        return [size_verdict(rows[INN_PAPER]), overfitting_verdict(rows)]


def over_training(metrics: list[dict[str, Any]]) -> list[tuple[int, float, float]]:
    """(step, training bits since the last validation, validation bits) for each validation."""
    found, since = [], []
    for line in metrics:
        if line["event"] == "train":
            since.append(line["bits"])
        elif line["event"] == "validation" and since:
            found.append((line["step"], statistics.mean(since), line["bits"]))
            since = []
    return found


def parts_bits(run: str, limit: int) -> dict[str, Any]:
    """Bits of a run on text it read last, on text right after that, and on held-out text (for `Lab.measure`).

    `unread` is None where the run has read all of its training part, or windows from anywhere in it.
    """
    from inn.runs.directory import Run
    from inn.runs.load import load_with_data

    model, dataset = load_with_data(run)
    read, unread = stretches(len(dataset.train), Run(run).config(), limit // ROWS)
    length = min(len(read[0]), len(dataset.valid) // ROWS)
    held = [range(i * (len(dataset.valid) // ROWS), i * (len(dataset.valid) // ROWS) + length) for i in range(ROWS)]
    warmup = min(WARMUP, length // 4)

    def bits(text: np.ndarray, places: list[range]) -> float:
        return bits_of(model, np.stack([text[at.start : at.start + length] for at in places]), warmup)

    return {
        "read": bits(dataset.train, read),
        "unread": bits(dataset.train, unread) if unread else None,
        "held_out": bits(dataset.valid, held),
        "scored": ROWS * (length - 1 - warmup),
    }


def stretches(symbols: int, config: RunConfig, length: int) -> tuple[list[range], list[range] | None]:
    """Where a training part of `symbols` was read last, and what follows there unread: at most `length` symbols each.

    Contiguous streams in their first pass read each stream's part from its start. In later passes everything has been
    read, and windows at random leave no long stretch unread: then the stretches are spread evenly over the part.
    """
    data = config.data
    part = symbols // data.batch
    done = math.ceil(config.train.symbols / data.batch)
    if data.order == "contiguous" and done + 1 < part:
        size = min(length, done, part - done)
        rows = [stream * part for stream in range(data.batch)]
        return [range(at + done - size, at + done) for at in rows], [range(at + done, at + done + size) for at in rows]
    size = min(length, symbols // ROWS)
    return [range(i * (symbols // ROWS), i * (symbols // ROWS) + size) for i in range(ROWS)], None


def bits_of(model: SequenceModel, rows: np.ndarray, warmup: int, window: int = 512) -> float:
    """Bits per symbol of a model on rows of text `[rows, length]`, each from a fresh state; `warmup` are not scored."""
    from inn.inference.evaluate import row_nats

    return float(row_nats(model, rows, window)[:, warmup:].mean()) / math.log(2)


def gap_perplexity(part: dict[str, float]) -> float:
    """The gap as the paper has it: perplexity per character of held-out text less that of the text that was read.

    >>> gap_perplexity({"held_out": 2.0, "read": 1.0})
    2.0
    """
    return 2 ** part["held_out"] - 2 ** part["read"]


def rise(row: dict[str, Any]) -> float:
    """How far validation ended above its best, in bits, on seed 0: what overfitting looks like."""
    valid = [bits for _, _, bits in row["curve"]]
    return valid[-1] - min(valid) if valid else 0.0


def size_verdict(row: dict[str, Any]) -> Verdict:
    """What became of the constant gap of 0.7."""
    claim, paper = "the INN's gap is constant", f"~{GAP_PERPLEXITY} PPL on WikiText-2 (3.4)"
    if not row["parts"]:
        return Verdict(claim, paper, "–", "not measured", "every run diverged")
    gap = statistics.mean(map(gap_perplexity, row["parts"]))
    late = [2**valid - 2**train for _, train, valid in row["curve"][len(row["curve"]) // 2 :]]
    ranged = f", {min(late):+.2f} to {max(late):+.2f} over the second half of training" if late else ""
    shown = f"{gap:+.2f} PPL{ranged}"
    if abs(gap - GAP_PERPLEXITY) < GAP_PERPLEXITY / 2 and (not late or max(late) - min(late) < GAP_PERPLEXITY / 2):
        return Verdict(claim, paper, shown, "reproduced", "of the same size, and steady")
    because = f"{_passes(row):.2g} passes over the text leave little to remember; the paper reads WikiText-2 many times"
    return Verdict(claim, paper, shown, "not reproduced", because)


def overfitting_verdict(rows: dict[str, Any]) -> Verdict:
    """What became of the Transformer that overfits where the INN does not."""
    rises = {label: rise(rows[label]) for label in (INN_PAPER, RIVAL)}
    shown = "; ".join(f"{label} {value:+.3f} BPC above its best" for label, value in rises.items())
    claim, paper = "Transformers overfit, the INN does not", "stable against overfitting (3.4)"
    if rises[RIVAL] > RISE >= rises[INN_PAPER]:
        return Verdict(claim, paper, shown, "reproduced", "only the Transformer's held-out loss rises again")
    if max(rises.values()) <= RISE:
        return Verdict(
            claim, paper, shown, "not reproduced", f"in {_passes(rows[INN_PAPER]):.2g} passes neither overfits"
        )
    return Verdict(claim, paper, shown, "not reproduced", "the INN's held-out loss rises too")


def _passes(row: dict[str, Any]) -> float:
    """How often the training part was read."""
    return row["symbols"] / row["data"]["splits"]["train"]


def _cells(row: dict[str, Any]) -> list[str]:
    parts = row["parts"]
    if not parts:
        return ["–"] * 8
    memory = [p["unread"] - p["read"] for p in parts if p["unread"] is not None]
    return [
        f"{row['curve'][-1][1]:.3f}" if row["curve"] else "–",
        *(spread([p[name] for p in parts if p[name] is not None]) for name in ("read", "unread", "held_out")),
        f"{statistics.mean(p['held_out'] - p['read'] for p in parts):+.3f}",
        f"{statistics.mean(memory):+.3f}" if memory else "–",
        f"{statistics.mean(map(gap_perplexity, parts)):+.2f}",
        f"{rise(row):+.3f}",
    ]
