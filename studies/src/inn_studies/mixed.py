"""Whether a population of several kinds of neurons predicts text better than one of a single kind."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inn_studies import compressors
from inn_studies.lab import Lab
from inn_studies.rows import markdown, model_settings, scored_rows, spread, tune
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


MODELS: dict[str, Fields] = {
    DEFAULT: _one(19, "mamba"),
    "8 gru": _one(30, "gru"),
    "6 mamba, 2 gru": _mixture(21, (6, "mamba", {}), (2, "gru", {})),
}
"""Graphs of about as many parameters as the default, by label."""

SIZES = {
    "smoke": replace(
        TEXT8["smoke"],
        models={
            DEFAULT: {"kind": "inn", "neurons": 3, "width": 12, "rounds": 2},
            "2 mamba, 1 gru": {**_mixture(12, (2, "mamba", {}), (1, "gru", {})), "rounds": 2},
        },
    ),
    "cpu": replace(TEXT8["cpu"], models=MODELS, rates=(6e-3, 1.2e-2)),
    "gpu": Size("text8-small", {"train.symbols": 20_000_000}, rates=(6e-3, 1.2e-2), seeds=3, models=MODELS),
}


class Mixed(Study):
    name = "mixed"
    source = "our own question"
    question = "Does a population of several kinds of neurons predict text better than one of a single kind?"

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        tuned = tune(lab, size, {label: model_settings(size, label) for label in size.models}, seeds)
        return {"rows": scored_rows(lab, size, tuned)}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.scored(result["rows"][0])]

    def table(self, result: dict[str, Any]) -> str:
        default = _default(result)
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
        best = max(
            (row for row in result["rows"] if row is not default and row["test_bits"] and _flops(row, default) <= FLOPS),
            key=lambda row: statistics.mean(ahead(row, default)),
            default=None,
        )
        found = "no other graph was measured"
        if best is not None:
            gain = ahead(best, default)
            met = "reached" if statistics.mean(gain) >= BETTER else "not reached"
            found = f"'{best['label']}' is {spread(gain)} ahead, at {_flops(best, default):.2f} times the FLOPs: {met}"
        return (
            f"{default['symbols']:,} symbols of {default['data']['name']}; *ahead* is of test BPC, paired over seeds. "
            f"Goal: {BETTER} BPC ahead of the default at no more than {FLOPS} times its training FLOPs; {found}.\n\n"
            + markdown(head, rows)
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
    """How far a row is ahead of the default, in bits, seed by seed."""
    return [b - a for a, b in zip(row["test_bits"], default["test_bits"])]


def _default(result: dict[str, Any]) -> dict[str, Any]:
    return next(row for row in result["rows"] if row["label"] == DEFAULT)


def _flops(row: dict[str, Any], default: dict[str, Any]) -> float:
    return row["training_flops_per_symbol"] / default["training_flops_per_symbol"]
