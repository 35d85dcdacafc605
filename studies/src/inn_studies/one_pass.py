"""How far one pass over a corpus takes the default model; extrapolated where the machine is too small for a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inn_studies import compressors
from inn_studies.lab import Lab
from inn_studies.rows import best_bits, facts, jobs, markdown, score
from inn_studies.sizes import TEXT8, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

GOALS = {"text8-69m": 1.45, "enwik8": 1.50}
"""Bits per symbol on the test part that one pass is to reach, with at most 4.5 million parameters."""
PASSES = {"text8-69m": 64_000_000, "enwik8": 90_000_000}
"""Symbols of one pass over the training part."""
MODEL = "inn"
EXPONENTS = np.linspace(0.05, 1.5, 291)
"""Where a fit looks for c."""


@dataclass(frozen=True)
class Curve(Size):
    """Runs of one size over ever more symbols, each a whole schedule of its own; `rates` has one learning rate."""

    lengths: tuple[int, ...] = ()


def _curve(recipe: str, corpus: str, rate: float, lengths: tuple[int, ...], **settings: Any) -> Curve:
    quiet = {"train.sample_every": 0, "train.eval_symbols": 200_000}
    if corpus != "text8-69m":
        settings["data.corpus"] = corpus
    return Curve(recipe, {**quiet, **settings}, (rate,), lengths=lengths)


_UP_TO_10M = (625_000, 1_250_000, 2_500_000, 5_000_000, 10_000_000)
_BYTES = {"data.vocabulary": "bytes"}
_BATCH = {"data.corpus": "text8-69m", "data.batch": 16}

CURVES: dict[str, dict[str, Curve]] = {
    "smoke": {"tiny": Curve("study-smoke", TEXT8["smoke"].settings, (3e-3,), scored=2000, lengths=(512, 1024, 4096))},
    "cpu": {
        "text8-69m, 1.1 M": _curve("text8-1m", "text8-69m", 1.2e-2, _UP_TO_10M),
        "text8-69m, 3.9 M": _curve("text8", "text8-69m", 6e-3, _UP_TO_10M[:3], **_BATCH),
        "enwik8, 1.2 M": _curve("text8-1m", "enwik8", 1.2e-2, _UP_TO_10M[:4], **_BYTES),
    },
    "gpu": {
        "text8-69m, 3.9 M": _curve(
            "text8", "text8-69m", 6e-3, (4_000_000, 16_000_000, 64_000_000), **{"data.corpus": "text8-69m"}
        ),
        "enwik8, 4.1 M": _curve("enwik8", "enwik8", 6e-3, (5_625_000, 22_500_000, 90_000_000)),
    },
}


class OnePass(Study):
    name = "one-pass"
    source = "Beyond the paper"
    compressor_rows = True
    question = "How well does the graph predict text8 and enwik8 after one pass, with at most 4.5 million parameters?"

    def sizes(self) -> dict[str, Size]:
        return {scale: next(iter(curves.values())) for scale, curves in CURVES.items()}

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        curves = next(curves for curves in CURVES.values() if size in curves.values())
        wanted = {
            label: [
                job
                for symbols in curve.lengths
                for job in jobs(
                    curve,
                    f"{MODEL} {symbols}",
                    {"model.kind": MODEL, "train.symbols": symbols},
                    curve.rates,
                    range(seeds),
                )
            ]
            for label, curve in curves.items()
        }
        lab.train([job for group in wanted.values() for job in group])
        found = []
        for label, curve in curves.items():
            runs = [run for run in lab.train(wanted[label]) if best_bits(run) is not None]
            scores = lab.measure(score, runs, split="test", limit=curve.scored)
            points = [(facts(run)["symbols"], score["bits"]) for run, score in zip(runs, scores, strict=True)]
            row = {"label": label, "corpus": scores[0]["corpus"], "points": points, **facts(runs[-1])}
            ahead = PASSES.get(row["corpus"])
            row["fit"] = fitted(points, ahead) if ahead is not None else None
            found.append(row)
        return {"curves": found}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        known = {label: curve for curves in CURVES.values() for label, curve in curves.items()}
        return [
            compressors.case(curve, {"test": known[curve["label"]].scored}, symbols)
            for curve in result["curves"]
            for symbols, _ in curve["points"]
        ]

    def table(self, result: dict[str, Any]) -> str:
        rows = []
        for curve in result["curves"]:
            for symbols, bits in curve["points"]:
                rivals = compressors.bits(result, "test", corpus=curve["corpus"], read=symbols)
                others = [f"{rivals[name]:.3f}" if name in rivals else "–" for name in compressors.NAMES]
                cells = f"{curve['parameters']:,}", f"{symbols:,}", f"{bits:.3f}", *others, "measured"
                rows.append([curve["label"], *cells])
            if curve["fit"] is not None and curve["fit"]["symbols"] > curve["points"][-1][0]:
                rows.append([curve["label"], f"{curve['parameters']:,}", *_extrapolated(curve["fit"])])
        others = (f"{name}:" for name in compressors.NAMES)
        table = markdown(["curve", "parameters:", "symbols:", "test bits per symbol:", *others, ""], rows)
        return "\n\n".join([table, *(said for curve in result["curves"] if (said := _goal(curve)))])

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        for curve in result["curves"]:
            symbols, bits = zip(*curve["points"], strict=True)
            (line,) = axes.plot(symbols, bits, "o", label=curve["label"])
            if (fit := curve["fit"]) is not None:
                along = np.geomspace(symbols[0], max(fit["symbols"], symbols[-1]), 100)
                axes.plot(along, fit["a"] + fit["b"] * along ** -fit["c"], linestyle="--", color=line.get_color())
        axes.set(xscale="log", xlabel="training symbols", ylabel="test bits per symbol", title="dashed: a + b D^-c")
        axes.legend()
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


@dataclass(frozen=True)
class Fit:
    """bits = a + b · symbols^-c, least squares, a >= 0; and what it says of one pass."""

    a: float
    b: float
    c: float
    symbols: int
    bits: float
    low: float | None
    """The lowest that fits to all points but one give; None with three points, which a fit always meets."""
    high: float | None


def fitted(points: Sequence[tuple[int, float]], symbols: int) -> dict[str, Any] | None:
    """Fit a power law with a floor to (symbols, bits) and carry it on to `symbols`; None for fewer than three points.

    >>> found = fitted([(10**k, 1 + 2 * (10**k) ** -0.25) for k in range(1, 5)], 10**8)
    >>> round(found["bits"], 2), round(found["c"], 2)
    (1.02, 0.25)
    """
    if len(points) < 3:
        return None
    a, b, c = _least_squares(points)
    some = [points[:i] + points[i + 1 :] for i in range(len(points))] if len(points) > 3 else []  # type: ignore[operator]
    others = [a + b * symbols**-c for a, b, c in map(_least_squares, some)]
    at = float(a + b * symbols**-c)
    return asdict(Fit(a, b, c, symbols, at, min(others, default=None), max(others, default=None)))


def _least_squares(points: Sequence[tuple[int, float]]) -> tuple[float, float, float]:
    """a, b and c: the last from a grid, the others exact for it."""
    symbols, bits = np.array(points, dtype=np.float64).T
    best = None
    for c in EXPONENTS:
        falls = symbols**-c
        a, b = np.linalg.lstsq(np.stack([np.ones_like(falls), falls], 1), bits, rcond=None)[0]
        if a < 0:
            a, b = 0.0, (falls @ bits) / (falls @ falls)
        error = float(np.square(a + b * falls - bits).sum())
        if best is None or error < best[0]:
            best = error, (float(a), float(b), float(c))
    assert best is not None
    return best[1]


def _extrapolated(fit: dict[str, Any]) -> list[str]:
    between = f" [{fit['low']:.3f}, {fit['high']:.3f}]" if fit["low"] is not None else ""
    return [f"{fit['symbols']:,}", f"{fit['bits']:.3f}{between}", *("–" for _ in compressors.NAMES), "**extrapolated**"]


def _goal(curve: dict[str, Any]) -> str | None:
    """What the goal says of a curve."""
    goal, fit = GOALS.get(curve["corpus"]), curve["fit"]
    if goal is None or fit is None:
        return None
    carried = fit["symbols"] > curve["points"][-1][0]
    bits = fit["bits"] if carried else curve["points"][-1][1]
    law = f"{fit['a']:.3f} + {fit['b']:.3g} D^-{fit['c']:.2f} (in brackets: fits that leave out one point)"
    how = f"by extrapolation over {law}, which is no measurement" if carried else "measured"
    return f"{curve['label']}: {bits:.3f} after one pass, {how}; goal {goal}: {'met' if bits <= goal else 'not met'}."
