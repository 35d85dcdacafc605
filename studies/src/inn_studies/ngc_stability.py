"""How a push spreads over time and depth, in a dense model, in compressed ones, and in an INN while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from inn.compress.plans import PLANS
from inn_studies.compressing import steadiness, trained_steadiness
from inn_studies.lab import Job, Lab
from inn_studies.ngc import SIZES, NgcSize
from inn_studies.rows import markdown
from inn_studies.sizes import Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

_LONG = {"train_symbols": 1_000_000, "train_keep": 100, "train_checkpoint_every": 20, "train_eval_every": 20}
FOLLOWED = {"smoke": {"train_keep": 100, "train_checkpoint_every": 2}, "cpu": _LONG, "gpu": _LONG}
"""Settings of the run that is looked at while it is trained."""

_MEASURES: dict[str, Callable[[dict[str, Any]], dict[str, float] | None]] = {
    "decay": lambda one: one["embedding"][-1]["power"] and one["embedding"][-1]["power"]["exponent"],
    "growth": lambda one: one["depth"]["exponent"],
    "drive": lambda one: one["patterns"]["drive"],
}


class NgcStability(Study):
    name = "ngc-stability"
    source = "Neuronal Group Communication (arXiv 2510.16851)"
    question = "Does compression make a model less stable, and what does training do to the stability of an INN?"
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        return {scale: replace(size, seeds=1).but(**FOLLOWED[scale]) for scale, size in SIZES.items()}

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, NgcSize)
        symbols, auto = min(256, size.length), asdict(PLANS["groups"])
        steady = {
            name: {**size.base(), "blocks": size.blocks, "symbols": symbols, "plan": plan, "keep": keep}
            for name, plan, keep in (("dense", None, 1.0), ("80 %", auto, 0.8), ("50 %", auto, 0.5))
        }
        (run,) = lab.train([Job("inn followed", size.recipe, {**size.settings, "model.kind": "inn"})])
        return {
            "model": size.model,
            "stability": lab.compute(steadiness, steady),
            "followed": lab.measure(trained_steadiness, [run], blocks=size.blocks, symbols=symbols)[0],
        }

    def table(self, result: dict[str, Any]) -> str:
        rows = []
        for name, one in result["stability"].items():
            decay, growth, drive = (of(one) for of in _MEASURES.values())
            life = one["embedding"][-1]["half_life"]
            rows.append(
                [
                    name,
                    _interval(decay),
                    "–" if life is None else f"{life:.1f}",
                    *(_interval(found, 3) for found in (growth, drive)),
                ]
            )
        head = ["model", "decay lag^-x, x [95 %]:", "half-life in symbols:", "growth per layer:", "drive:"]
        dense = markdown(head, rows)
        passed = {name: one["transport"] for name, one in result["stability"].items() if one["transport"]}
        transports = markdown(
            ["model", "group of", "norm:", "flatness:", "overlap:", "of random spans:"],
            [
                [name, role, *(f"{found[key]:.3f}" for key in ("norm", "flatness", "overlap", "chance"))]
                for name, roles in passed.items()
                for role, found in roles.items()
            ],
        )
        steps = markdown(
            ["step:", "half-life in symbols:", "growth per round:", "largest exponent over time:", "drive:"],
            [
                [
                    step,
                    "–" if one["half_life"] is None else f"{one['half_life']:.1f}",
                    _interval(one["exponent"], 3),
                    "–" if one["time"] is None else "{:+.4f} [{:+.4f}, {:+.4f}]".format(*one["time"]),
                    _interval(one["drive"], 3),
                ]
                for step, one in result["followed"].items()
            ],
        )
        return "\n\n".join(
            [
                "A push of one symbol's embedding by 1 %, followed over the symbols after it at the last layer, and "
                "over the layers at that symbol:",
                dense,
                _changed(result["stability"]),
                "S4, from the states of one layer's group to the next layer's, means over the depth:",
                transports,
                "An INN while it is trained:",
                steps,
            ]
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        from inn.analysis.stability.plot import draw_stability

        draw_stability(result["stability"], figure)
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def _changed(found: dict[str, Any]) -> str:
    """What of the compressed models lies beyond the dense one's interval."""
    beyond = []
    for what, of in _MEASURES.items():
        here = of(found["dense"])
        for name, one in found.items():
            there = of(one)
            if here and there and (there["low"] > here["high"] or there["high"] < here["low"]):
                beyond.append(f"{what} at {name}")
    return f"Intervals of dense and compressed do not meet for: {', '.join(beyond) or 'nothing'}."


def _interval(found: dict[str, float] | None, digits: int = 2) -> str:
    return (
        "–" if found is None else f"{found['mean']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"
    )
