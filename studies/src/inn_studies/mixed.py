"""Whether neurons of several kinds predict text better than those of one kind, with all edges or few."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inn_studies import compressors
from inn_studies.lab import Lab
from inn_studies.rows import markdown, model_settings, paired, scored_rows, spread, tune
from inn_studies.sizes import TEXT8, Fields, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

DEFAULT = "8 mamba"
"""Today's default: neurons of one kind."""
BETTER, FLOPS = 0.02, 1.1
"""The goal: bits per character that a mixture gains, at no more than this many times the default's training FLOPs."""


def _mixture(width: int, *groups: tuple[int, str, dict[str, Any]]) -> Fields:
    """Fields of `--model` for groups of neurons: how many, their memory, its options."""
    population = [{"neurons": n, "memory": kind, "memory_options": options} for n, kind, options in groups]
    return {"kind": "inn", "width": width, "rounds": 4, "population": population}


def _one(width: int, kind: str, **options: Any) -> Fields:
    own = {f"memory.{name}": value for name, value in options.items()}
    return {"kind": "inn", "neurons": 8, "width": width, "rounds": 4, "memory": kind, **own}


RING: Fields = {"topology": "ring", "topology.neighbours": 2}
"""Each of eight neurons hears itself and two others: what that saves goes into wider neurons."""

MODELS: dict[str, Fields] = {
    DEFAULT: _one(19, "mamba"),
    "8 mamba, ring": {**_one(28, "mamba"), **RING},
    "7 mamba, 1 without memory, ring": {**_mixture(29, (7, "mamba", {}), (1, "none", {})), **RING},
    "4 mamba of 8 states, 4 of 24, ring": {
        **_mixture(28, (4, "mamba", {"state": 8}), (4, "mamba", {"state": 24})), **RING
    },
}  # fmt: skip
"""Graphs of about as many training FLOPs as the default, by label."""

SIZES = {
    "smoke": replace(
        TEXT8["smoke"],
        models={
            DEFAULT: {"kind": "inn", "neurons": 3, "width": 12, "rounds": 2},
            "2 mamba, 1 gru": {**_mixture(12, (2, "mamba", {}), (1, "gru", {})), "rounds": 2},
        },
    ),
    "cpu": replace(TEXT8["cpu"], models=MODELS, rates=(8e-3, 1.2e-2), further=0, seeds=3),
    "gpu": Size("text8-last", {"train.symbols": 20_000_000}, rates=(6e-3, 1.2e-2), seeds=3, models=MODELS),
}


class Mixed(Study):
    name = "mixed"
    source = "our own question"
    question = "Do neurons of several kinds predict text better than those of one kind, at equal FLOPs?"

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        tuned = tune(lab, size, {label: model_settings(size, label) for label in size.models}, seeds)
        rows = scored_rows(lab, size, tuned)
        for row in rows:
            row["mixed"] = "population" in size.models[row["label"]]
        return {"rows": rows}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.scored(result["rows"][0])]

    def table(self, result: dict[str, Any]) -> str:
        default = next(row for row in result["rows"] if row["label"] == DEFAULT)
        rows = [
            [
                row["label"],
                f"{row['parameters']:,}",
                f"{row['training_flops_per_symbol'] / 1e6:.2f} M",
                f"{row['training_seconds']:.0f}",
                f"{row['lr']:g}",
                spread(row["valid_bits"]),
                spread(row["test_bits"]),
                "–" if row is default else spread(ahead(row, default)),
            ]
            for row in sorted(result["rows"], key=lambda row: statistics.mean(row["test_bits"] or [99.0]))
        ]
        head = [
            "neurons", "parameters:", "training FLOPs per symbol:", "seconds:", "lr:", "valid BPC:", "test BPC:",
            "ahead of the default:",
        ]  # fmt: skip
        return (
            f"{default['symbols']:,} symbols of {default['data']['name']}; *ahead* is of test BPC, paired over seeds. "
            f"{said(result['rows'])}\n\n{markdown(head, rows)}"
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        for row in result["rows"]:
            if row["test_bits"]:
                axes.plot(row["training_flops_per_symbol"], statistics.mean(row["test_bits"]), "o", label=row["label"])
        axes.set(xlabel="training FLOPs per symbol", ylabel="test bits per character")
        figure.legend(loc="outside right upper", fontsize="small")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def ahead(row: dict[str, Any], default: dict[str, Any]) -> list[float]:
    """How far a row is ahead of the default, in bits, seed by seed; empty where a seed of either diverged."""
    return paired(default, row, "test")


def said(rows: list[dict[str, Any]]) -> str:
    """What the best graphs of several kinds and of one gain over the default, at no more FLOPs than the goal allows."""
    default = next(row for row in rows if row["label"] == DEFAULT)
    parts = [f"Goal: {BETTER} BPC ahead of the default at no more than {FLOPS} times its training FLOPs."]
    for mixed, kinds in ((True, "several kinds"), (False, "one kind")):
        fit = [r for r in rows if r is not default and r["mixed"] is mixed and ahead(r, default)]
        fit = [r for r in fit if _flops(r, default) <= FLOPS]
        if fit:
            best = max(fit, key=lambda row: statistics.mean(ahead(row, default)))
            gain = ahead(best, default)
            met = "reached" if statistics.mean(gain) >= BETTER else "not reached"
            parts.append(
                f"The best of {kinds}, '{best['label']}', is {spread(gain)} ahead at {_flops(best, default):.2f} times "
                f"the FLOPs: {met}."
            )
    return " ".join(parts)


def _flops(row: dict[str, Any], default: dict[str, Any]) -> float:
    return row["training_flops_per_symbol"] / default["training_flops_per_symbol"]
