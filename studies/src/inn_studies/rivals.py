"""Does the graph earn its keep? The default model against its rivals at equal parameters and equal compute."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from inn_studies import compressors
from inn_studies.compare import ages_table, bits_by_age, block_bits, lead_over, mean_test, row_of
from inn_studies.lab import Lab
from inn_studies.rows import best_bits, facts, jobs, markdown, model_settings, score, spread, tune
from inn_studies.sizes import TEXT8, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

LEAD = 0.02
"""Bits per character by which the default has to be ahead of the best rival, its whole interval above 0."""
LOSS = 0.03
"""Bits per character that the default has to lose without communication."""
OURS, ALONE, SILENT = "inn", "one wide neuron", "no communication"
MODELS = (OURS, ALONE, SILENT, "mamba-stack", "transformer", "lstm")
ONE_SEED = (SILENT, "mamba-stack", "transformer", "lstm")
"""Rows that are so far behind that one seed tells."""

_ALONE = {"kind": "inn", "neurons": 1, "router": "none"}
_SILENT = {"kind": "inn", "neurons": 8, "router": "none"}


def _size(small: Size, wide: int, silent: int, talking: int | None = None, **fields: Any) -> Size:
    """A size with the models that no recipe has: one neuron as wide as all, neurons that never talk, others that do."""
    models = {ALONE: {**_ALONE, "width": wide}, SILENT: {**_SILENT, "width": silent}}
    if talking is not None:
        models[OURS] = {"kind": "inn", "neurons": 8, "width": talking}
    return replace(small, models=models, **fields)


SWEEP = {
    "smoke": _size(TEXT8["smoke"], 16, 8),
    "cpu": _size(TEXT8["cpu"], 124, 39),
    "gpu": _size(TEXT8["cpu"], 124, 39),
}
"""Where each model's learning rate is found."""

SIZES = {
    "smoke": _size(TEXT8["smoke"], 16, 8, seeds=2),
    "cpu": _size(
        Size("text8-1m", {"train.sample_every": 0, "train.eval_symbols": 200_000}, seeds=3, scored=None), 198, 64
    ),
    "gpu": _size(
        Size("text8", {"data.corpus": "text8-69m", "train.symbols": 64_000_000}, seeds=3, scored=None), 384, 124
    ),
}

LONG = {
    "smoke": SIZES["smoke"],
    "cpu": replace(SWEEP["cpu"].but(train_symbols=20_000_000, train_eval_every=1000), seeds=3, scored=None),
    "gpu": _size(
        Size("text8", {"data.corpus": "text8-69m", "train.symbols": 20_000_000}, seeds=3, scored=None), 296, 97, 45
    ),
}
"""Twice the text: on a CPU with the models of the sweep, for no run is to take an hour; else 2.4 million parameters."""


class Rivals(Study):
    name = "rivals"
    source = "Beyond the paper"
    question = (
        "Is a graph of neurons ahead of the best rival of equal parameters and equal compute, and is it the graph?"
    )
    compressor_rows = True
    models: ClassVar[tuple[str, ...]] = MODELS

    def sizes(self) -> dict[str, Size]:
        return SIZES

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        scale = next(name for name, known in self.sizes().items() if known is size)
        small = SWEEP[scale]
        swept = tune(lab, small, {label: model_settings(small, label) for label in self.models}, 1)
        groups = {
            model.label: jobs(
                size,
                model.label,
                model_settings(size, model.label),
                [model.rate],
                range(1 if model.label in ONE_SEED else seeds),
            )
            for model in swept
        }
        lab.train([job for group in groups.values() for job in group])
        rows = []
        for model in swept:
            runs = [run for run in lab.train(groups[model.label]) if best_bits(run) is not None]
            valid = lab.measure(score, runs, split="valid", limit=size.scored)
            rows.append(
                {
                    "label": model.label,
                    "lr": model.rate,
                    "sweep_valid_bits": model.sweep,
                    "valid_bits": [found["bits"] for found in valid],
                    "test_blocks": lab.measure(block_bits, runs, split="test"),
                    "test_by_age": lab.measure(bits_by_age, runs[:1], split="test")[0],
                    **facts(runs[0]),
                }
            )
        (whole,) = lab.measure(population, lab.train(groups[OURS][:1]), split="test")
        return {"rows": rows, "population": whole}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.case(result["rows"][0], {"valid": None, "test": None})]

    def table(self, result: dict[str, Any]) -> str:
        ours = row_of(result, OURS)
        scores = []
        for row in result["rows"]:
            own = row["label"] == OURS
            scores.append(
                (
                    mean_test(row),
                    row["label"],
                    f"{row['parameters']:,}",
                    f"{row['training_flops_per_symbol'] / 1e6:.2f} M",
                    f"{row['lr']:g}",
                    str(len(row["test_blocks"])),
                    spread(row["valid_bits"]),
                    spread([statistics.mean(blocks) for blocks in row["test_blocks"]]),
                    "–" if own else str(lead_over(ours, row)),
                )
            )
        valid = compressors.bits(result, "valid")
        for name, bits in compressors.bits(result, "test").items():
            lead = f"{bits - mean_test(ours):+.3f}"
            scores.append((bits, name, "–", "–", "–", "–", f"{valid[name]:.3f}", f"{bits:.3f}", lead))
        rows = [cells for _, *cells in sorted(scores)]
        head = ["model", "parameters:", "training FLOPs per symbol:", "lr:", "seeds:", "valid BPC:", "test BPC:"]
        leads = markdown([*head, "inn is ahead by [95 %]:"], rows)
        return "\n\n".join([leads, _remark(result), _shorter(result), _ages(result), _neurons(result["population"])])

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        ours = row_of(result, OURS)
        others = sorted((row for row in result["rows"] if row["label"] != OURS), key=mean_test, reverse=True)
        leads = [lead_over(ours, row) for row in others]
        middle = [found.bits for found in leads]
        reach = [[f.bits - f.low for f in leads], [f.high - f.bits for f in leads]]
        axes.barh([row["label"] for row in others], middle, xerr=reach, color="0.7", capsize=3)
        axes.axvline(LEAD, linestyle=":", color="black", label=f"{LEAD} BPC")
        axes.set(xlabel="BPC on the test part by which the graph of neurons is ahead (95 % interval)")
        axes.legend()
        return True


class LongRivals(Rivals):
    """The same over twice the text, with the rivals that could be ahead."""

    name = "rivals-long"
    question = "And over 20 million characters?"
    models = (OURS, ALONE, SILENT)

    def sizes(self) -> dict[str, Size]:
        return LONG


def population(run: str, split: str, limit: int = 200_000) -> dict[str, Any]:
    """How many neurons a run amounts to, and the bits per symbol it loses without each (a measure)."""
    from inn.analysis import measure_effective_neurons, silenced
    from inn.inference.evaluate import evaluate
    from inn.models.inn import INN
    from inn.nn.modes import as_tokens, device_of
    from inn.runs.load import load_with_data

    model, dataset = load_with_data(run)
    assert isinstance(model, INN)
    text = dataset.split(split)[:limit]
    window = len(text) // 16
    tokens = as_tokens(np.stack([text[i * window : (i + 1) * window][:1024] for i in range(16)]), device_of(model))
    whole, lost = evaluate(model, text, streams=4).bits, []
    for neuron in range(model.config.neurons):
        with silenced(model, [neuron]):
            lost.append(evaluate(model, text, streams=4).bits - whole)
    return {"effective_neurons": measure_effective_neurons(model, tokens), "lost_bits": lost}


def _remark(result: dict[str, Any]) -> str:
    """What the goals say of the result."""
    ours = row_of(result, OURS)
    rivals = [row for row in result["rows"] if row["label"] not in (OURS, SILENT)]
    best = min(rivals, key=mean_test)
    found, silent = lead_over(ours, best), lead_over(ours, row_of(result, SILENT))
    flops = ours["training_flops_per_symbol"] / best["training_flops_per_symbol"]
    seeds = "seed" if found.seeds == 1 else "seeds"
    won = found.bits >= LEAD and found.low > 0 and flops <= 1.1
    return (
        f"The best rival is '{best['label']}': the graph is {'' if won else 'not '}ahead by at least {LEAD} BPC "
        f"({found}, {found.seeds} {seeds}, {found.blocks} blocks of text) at {flops:.2f} times its training FLOPs. "
        f"Without communication it loses {silent} BPC (goal: at least {LOSS})."
    )


def _shorter(result: dict[str, Any]) -> str:
    """What the sweep says of less text."""
    swept = {row["label"]: row["sweep_valid_bits"].values() for row in result["rows"]}
    best = {label: min(bits for bits in found if bits is not None) for label, found in swept.items()}
    gap = best[ALONE] - best[OURS]
    each = ", ".join(f"{label} {bits:.3f}" for label, bits in sorted(best.items(), key=lambda item: item[1]))
    return (
        "With less text, in the shorter runs that the learning rates were found in (one seed, each at its best rate, "
        f"valid BPC): {each}. There the graph is {'ahead of' if gap > 0 else 'behind'} '{ALONE}' by {abs(gap):.3f}."
    )


def _ages(result: dict[str, Any]) -> str:
    """What each model makes of a text by how much of it it has read."""
    return (
        "Test BPC by symbols read before, from fresh states (seed 0): a model that recalls gains from all it has read, "
        f"so its score on a long text says little of a short one.\n\n{ages_table(result['rows'])}"
    )


def _neurons(found: dict[str, Any]) -> str:
    lost, count = found["lost_bits"], len(found["lost_bits"])
    least = "every neuron costs something" if min(lost) > 0 else "not every neuron costs something"
    return (
        f"The graph's {count} neurons amount to {found['effective_neurons']:.1f} (goal: at least {count / 2:g}). "
        f"Silenced, one costs {min(lost):.3f} to {max(lost):.3f} BPC: {least}."
    )
