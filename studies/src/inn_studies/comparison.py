"""What Tables 4 and 5 have in common: the same models on one corpus, by perplexity, each at its best learning rate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from inn_studies import compressors
from inn_studies.lab import Lab
from inn_studies.rows import better_lstm, markdown, model_settings, scored_rows, spread, tune
from inn_studies.sizes import SHALLOW, Size
from inn_studies.study import Outcome, Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

MODELS = ("lstm", SHALLOW, "transformer-paper", "transformer", "mamba-stack", "inn", "inn-paper-fixed")
OURS = {"inn-paper": "inn-paper-fixed"}
"""Which of our rows stands for a row of the paper, where the names differ."""


class Comparison(Study):
    """Every model on one corpus; a subclass names the corpus by `sizes` and the paper's numbers."""

    compressor_rows = True
    paper: ClassVar[Mapping[str, float]] = {}
    """Validation perplexity by model, as printed."""
    place: ClassVar[str] = ""
    """Where it is printed."""
    digits: ClassVar[int] = 3
    """Of a perplexity."""

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        tuned = tune(lab, size, {label: model_settings(size, label) for label in MODELS}, seeds)
        rows = scored_rows(lab, size, tuned)
        for row in rows:
            for part in ("valid", "test"):
                row[f"{part}_ppl"] = [2.0**bits for bits in row[f"{part}_bits"]]
        floors = (tuned[0].runs[0].summary() or {})["floors"]
        return {"rows": rows, "floors": {name: 2.0**bits for name, bits in floors.items()}}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.scored(result["rows"][0])]

    def table(self, result: dict[str, Any]) -> str:
        scores = [
            (
                min(row["valid_ppl"], default=math.inf),
                row["label"],
                f"{row['parameters']:,}",
                f"{row['training_flops_per_symbol'] / 1e6:.2f} M",
                f"{row['lr']:g}",
                spread(row["valid_ppl"], self.digits),
                spread(row["test_ppl"], self.digits),
                f"{self.paper[name]}" if (name := paper_name(row["label"])) in self.paper else "–",
            )
            for row in result["rows"]
        ]
        test = compressors.bits(result, "test")
        for name, bits in compressors.bits(result, "valid").items():
            ppl, on_test = (f"{2.0**of:,.{self.digits}f}" for of in (bits, test[name]))
            scores.append((2.0**bits, name, "–", "–", "–", ppl, on_test, "–"))
        rows = [cells for _, *cells in sorted(scores)]
        rows += [[name, "–", "–", "–", f"{ppl:,.{self.digits}f}", "–", "–"] for name, ppl in result["floors"].items()]
        head = [
            "model", "parameters:", "training FLOPs per symbol:", "lr:", "valid PPL:", "test PPL:",
            "paper's valid PPL:",
        ]  # fmt: skip
        first = result["rows"][0]
        data = f"{first['config']['data']['corpus']}, {first['config']['data']['vocabulary']}"
        spelt = f" {compressors.SPELT}" if test and first["config"]["data"]["vocabulary"] == "words" else ""
        return f"{data}; {first['symbols']:,} symbols trained on.{spelt}\n\n{markdown(head, rows)}"

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        rows = [row for row in result["rows"] if row["valid_ppl"]]
        means = [statistics.mean(row["valid_ppl"]) for row in rows]
        errors = [statistics.stdev(row["valid_ppl"]) if len(row["valid_ppl"]) > 1 else 0.0 for row in rows]
        axes = figure.subplots()
        axes.barh([row["label"] for row in rows], means, xerr=errors)
        axes.invert_yaxis()
        axes.set(xlabel="validation perplexity", title=f"{self.name}, each at its best learning rate")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        ours = better_lstm({row["label"]: row["valid_ppl"] for row in result["rows"]})
        return [
            Verdict(label, f"{ppl} PPL ({self.place})", *judged(label, ours, self.paper, self.digits))
            for label, ppl in self.paper.items()
        ]


def paper_name(label: str) -> str:
    """The paper's name of one of our rows.

    >>> paper_name("inn-paper-fixed"), paper_name("lstm")
    ('inn-paper', 'lstm')
    """
    return next((theirs for theirs, ours in OURS.items() if ours == label), label)


def judged(
    label: str, ours: Mapping[str, list[float]], paper: Mapping[str, float], digits: int = 3
) -> tuple[str, Outcome, str]:
    """Our number, the outcome and the reason: what is compared is who is ahead of whom.

    The published graph is compared with the LSTM, the others with the published graph.

    Args:
        ours: perplexities by our label, one per seed.
        paper: perplexities by the paper's.
    """
    mean = {name: statistics.mean(values) for name, values in ours.items() if values}
    mine, rival = OURS.get(label, label), "lstm" if label == "inn-paper" else "inn-paper"
    other = OURS.get(rival, rival)
    if mine not in mean or other not in mean:
        return "–", "not measured", f"every run of {mine if mine not in mean else other} diverged"
    shown = f"{spread(ours[mine], digits)} PPL"
    ratio, theirs = mean[mine] / mean[other], paper[label] / paper[rival]
    same = (ratio < 1) == (theirs < 1)
    name = "the LSTM's" if rival == "lstm" else "the published graph's"
    because = f"{ratio:.3f} of {name} perplexity, in the paper {theirs:.3f}"
    return shown, "reproduced" if same else "not reproduced", because
