"""Neurons that count: a graph of them, one wide neuron with the same tables, and a stack without any."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from inn_studies import compressors
from inn_studies.compare import BLOCKS, ages_table, bits_by_age, lead_over, mean_test, row_of
from inn_studies.lab import Lab
from inn_studies.rows import best_bits, facts, jobs, markdown, model_settings, spread, tune
from inn_studies.sizes import TEXT8, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

GRAPH, WIDE, STACK = "inn", "one wide neuron", "mamba-stack"
COUNTING = (GRAPH, WIDE)
"""Models with tables, which begin the held-out text with what they read in training."""

_QUIET = {"train.sample_every": 0, "train.eval_every": 1000, "train.eval_symbols": 100_000}
_WIDE = {"kind": "inn", "neurons": 1, "router": "none"}


_LARGER = {"cpu": 2**20, "gpu": 2**22}
"""Slots of a table, where the text is longer than that of the recipe."""


def _read(symbols: int) -> dict[str, Any]:
    return {**_QUIET, "data.limit": symbols, "train.symbols": symbols}


_COUNTS = {"recall.kind": "counts", "recall.contexts": [1, 2, 3, 4], "recall.slots": 1024}
_SMOKE = {**TEXT8["smoke"].settings, "data.order": "forward"}

SWEEP = {
    "smoke": Size("study-smoke", _SMOKE, rates=(3e-3, 1e-2), further=0,
                  models={GRAPH: {"kind": "inn", "neurons": 3, "width": 12, "rounds": 2, **_COUNTS},
                          WIDE: {**_WIDE, "width": 20, "rounds": 2, **_COUNTS}}),
    "cpu": Size("text8-small", _QUIET, models={WIDE: {**_WIDE, "width": 72}}),
    "gpu": Size("text8-small", _QUIET, models={WIDE: {**_WIDE, "width": 72}}),
}  # fmt: skip
"""Where each model's learning rate is found."""

SIZES = {
    "smoke": Size("study-smoke", _SMOKE, seeds=2, models=SWEEP["smoke"].models, scored=1000),
    "cpu": Size("text8-small", _read(10_000_000), seeds=3, models=SWEEP["cpu"].models),
    "gpu": Size("text8-small", _read(64_000_000), seeds=3, models=SWEEP["gpu"].models, scored=None),
}


def primed_blocks(run: str, split: str, limit: int | None) -> list[float]:
    """Bits per symbol on each of 32 blocks of a held-out part (a measure for `Lab.measure`).

    It is one strict stream. A model that recalls begins with what it read in training, as compressors do.
    """
    from inn.inference.evaluate import evaluate
    from inn.inference.held_out import experience
    from inn.runs.directory import Run
    from inn.runs.load import load_with_data

    model, dataset = load_with_data(run)
    recalls = getattr(model, "recall", None) is not None
    state = experience(model, dataset, Run(run).config()) if recalls else None
    found = evaluate(model, dataset.split(split)[:limit], blocks=BLOCKS, state=state)
    return [part.bits for part in found.parts]


class Counting(Study):
    name = "counting"
    source = "our own question"
    question = "Is a graph of neurons that count ahead of one wide neuron with the same tables, and of compressors?"
    compressor_rows = True

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        scale = next(name for name, known in SIZES.items() if known is size)
        rows = []
        labels = COUNTING if scale == "smoke" else (*COUNTING, STACK)
        for model in tune(lab, SWEEP[scale], {label: model_settings(SWEEP[scale], label) for label in labels}, 1):
            own = range(seeds if model.label in COUNTING else 1)
            settings = model_settings(size, model.label)
            if model.label in COUNTING and scale in _LARGER:
                settings["model.recall.slots"] = _LARGER[scale]
            every = lab.train(jobs(size, model.label, settings, [model.rate], own))
            runs = [run for run in every if best_bits(run) is not None]
            rows.append(
                {
                    "label": model.label,
                    "lr": model.rate,
                    "sweep_valid_bits": model.sweep,
                    "test_blocks": lab.measure(primed_blocks, runs, split="test", limit=size.scored),
                    "test_by_age": lab.measure(bits_by_age, runs[:1], split="test")[0],
                    **facts(runs[0]),
                }
            )
        return {"rows": rows, "scored": size.scored}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.case(result["rows"][0], {"test": result["scored"]})]

    def table(self, result: dict[str, Any]) -> str:
        ours, cells = row_of(result, GRAPH), []
        for row in result["rows"]:
            size, flops = f"{row['parameters']:,}", f"{row['training_flops_per_symbol'] / 1e6:.2f} M"
            scores = [statistics.mean(blocks) for blocks in row["test_blocks"]]
            lead = "–" if row is ours else str(lead_over(ours, row))
            cells.append((mean_test(row), row["label"], size, flops, f"{row['lr']:g}", spread(scores, 4), lead))
        for name, bits in compressors.bits(result, "test").items():
            cells.append((bits, name, "–", "–", "–", f"{bits:.4f}", f"{bits - mean_test(ours):+.3f}"))
        head = ["model", "parameters:", "training FLOPs per symbol:", "lr:", "test BPC:", "inn is ahead by [95 %]:"]
        return "\n\n".join([markdown(head, [own for _, *own in sorted(cells)]), said(result), _ages(result)])

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        rows = sorted(result["rows"], key=mean_test, reverse=True)
        axes.barh([row["label"] for row in rows], [mean_test(row) for row in rows], color="0.7")
        for name, bits in compressors.bits(result, "test").items():
            axes.axvline(bits, linestyle=":", color="black")
            axes.annotate(name, (bits, 0), rotation=90)
        axes.set(xlabel="bits per character of the test part, after the same training text", xlim=(1.3, None))
        return True


def said(result: dict[str, Any]) -> str:
    """What the result says of the question."""
    ours, wide = row_of(result, GRAPH), row_of(result, WIDE)
    found = lead_over(ours, wide)
    flops = ours["training_flops_per_symbol"] / wide["training_flops_per_symbol"]
    ahead = "ahead of" if found.low > 0 else "behind" if found.high < 0 else "not apart from"
    return (
        f"The graph is {ahead} one wide neuron with the same tables: {found} bits per character, {found.seeds} seeds, "
        f"at {flops:.2f} times its training FLOPs. Both vote on the next symbol by what they counted."
    )


def _ages(result: dict[str, Any]) -> str:
    """What each model makes of a text by how much of it it has read."""
    table = ages_table(result["rows"])
    return f"Test BPC by symbols read before, from fresh states and empty tables (seed 0):\n\n{table}"
