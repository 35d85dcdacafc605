"""Healing after compressing: what some minutes of distillation give back, on the text they had and on others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from inn.compress.calibrate import ROWS
from inn.compress.plans import PLANS
from inn_studies.compressing import healed
from inn_studies.lab import Lab
from inn_studies.ngc import SIZES, NgcSize
from inn_studies.rows import markdown
from inn_studies.sizes import Size
from inn_studies.study import Study, Verdict

KEEP, GOAL = 0.8, 1.08
"""All projections are kept to this share; healed, perplexity is to be at most so many times the dense model's."""
HEALED: tuple[tuple[str, str, str], ...] = (
    ("svd-llm", "distil", "own"),
    ("auto", "distil", "own"),
    ("auto", "distil", "mixed"),
    ("auto", "layers-first", "own"),
    ("auto", "ngc", "own"),
    ("neurons", "distil", "own"),
    ("neurons", "distil", "mixed"),
)
"""Plan, recipe, and the text: the calibration corpus's training part, or that, enwik8's and Python source in turn."""


@dataclass(frozen=True)
class HealSize(NgcSize):
    """How large the study of healing is."""

    steps: int = 200
    """Of healing, each of a row of text."""


class NgcHeal(Study):
    name = "ngc-heal"
    source = "Neuronal Group Communication (arXiv 2510.16851)"
    question = "What do some minutes of distillation give back to a compressed model, and on which texts?"
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        steps = {"smoke": 3, "cpu": 200, "gpu": 2000}
        return {
            scale: HealSize(
                **{
                    **vars(size), "seeds": 1, "rows": size.rows if scale == "smoke" else ROWS,
                    "confirmed": min(16, size.confirmed), "steps": steps[scale],
                }
            )
            for scale, size in SIZES.items()
        }  # fmt: skip

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, HealSize)
        base = {**size.base(), "keep": KEEP, "windows": size.confirmed, "steps": size.steps}
        found = lab.compute(
            healed,
            {
                f"{plan}, {recipe}, {text}, draw {draw}": {
                    **base, "plan": asdict(PLANS[plan]), "recipe": recipe, "mixed": text == "mixed", "draw": draw,
                }
                for plan, recipe, text in HEALED
                for draw in range(seeds)
            },
        )  # fmt: skip
        draws = list(found.values())
        return {
            "model": size.model,
            "corpus": size.corpus,
            "symbols": size.steps * size.length,
            "rows": [
                {"plan": plan, "recipe": recipe, "text": text, "draws": draws[i * seeds : (i + 1) * seeds]}
                for i, (plan, recipe, text) in enumerate(HEALED)
            ],
        }

    def table(self, result: dict[str, Any]) -> str:
        first = result["rows"][0]["draws"][0]
        texts = list(first["perplexity"]["dense"])

        def mean(row: dict[str, Any], when: str, text: str) -> float:
            return sum(one["perplexity"][when][text] for one in row["draws"]) / len(row["draws"])

        lines = [["dense", "", "", *(f"{first['perplexity']['dense'][text]:.2f}" for text in texts), "", ""]]
        for row in result["rows"]:
            shown = [f"{mean(row, 'before', text):.2f} → {mean(row, 'after', text):.2f}" for text in texts]
            share = mean(row, "after", texts[0]) / mean(row, "dense", texts[0])
            minutes = sum(one["seconds"] for one in row["draws"]) / len(row["draws"]) / 60
            lines.append([row["plan"], row["recipe"], row["text"], *shown, f"{share:.3f}", f"{minutes:.1f} min"])
        best = min(result["rows"], key=lambda row: mean(row, "after", texts[0]))
        share = mean(best, "after", texts[0]) / mean(best, "dense", texts[0])
        head = ["plan", "recipe", "healed on", *(f"{text}:" for text in texts), "times dense:", "of one core:"]
        return (
            f"{result['model']}, all projections at {KEEP:.0%}, healed on {result['symbols']:,} symbols: perplexity "
            f"before → after. *own* is the training part of {result['corpus']}, on whose validation part it was "
            f"calibrated; *mixed* is as many symbols of it, of enwik8 and of Python source. Goal: at most {GOAL} "
            f"times the dense perplexity on {texts[0]}; the best, {best['plan']}, has {share:.3f}: "
            f"{'reached' if share <= GOAL else 'not reached'}.\n\n{markdown(head, lines)}"
        )

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []
