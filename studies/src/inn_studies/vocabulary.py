"""The paper's "vocabulary barrier": what brings the graph to the LSTM on the words of the Penn Treebank.

With 10,000 words most parameters are the embedding, and a graph whose neurons split it is left with little. Each row
is another way to spend the same total: narrow embeddings, an adaptive head, sub-words, characters. All read the same
text as often, and all are compared by the perplexity per word, exp(total nats / words).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inn_studies import compressors
from inn_studies.lab import Job, Lab
from inn_studies.paper import TABLE_5
from inn_studies.rows import STREAMS, Tuned, facts, markdown, spread, tune
from inn_studies.sizes import TEXT8, Fields, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

BASE = {"inn": "inn words", "lstm": "lstm words"}
"""The plain rows, by kind: every word its own vector, the head tied to them."""

SYMBOLS: dict[str, Fields] = {
    "words": {"data.vocabulary": "words"},
    "words, narrow": {"data.vocabulary": "words"},
    "words, adaptive head": {"data.vocabulary": "words", "model.head": "adaptive", "model.tied": False},
    "bpe 512": {"data.vocabulary": "bpe", "data.units": 512},
    "bpe 1024": {"data.vocabulary": "bpe", "data.units": 1024},
    "bpe 4096": {"data.vocabulary": "bpe", "data.units": 4096},
    "characters": {"data.vocabulary": "characters"},
}
"""What is read and predicted, by the part of a row's label after the kind of model."""

WINDOWS = {"words": 64, "bpe": 128, "characters": 256}
"""Symbols of a window: about the same stretch of text each."""


@dataclass(frozen=True)
class SameTextSize(Size):
    """Runs that read the same text, whatever its symbols; `models` has the rows, by label."""

    passes: float = 1.0
    """How often a run reads the training part."""


def _inn(**fields: Any) -> dict[str, Any]:
    return {"kind": "inn", "neurons": 4, "rounds": 4, "recall.width": 8, "dropout": 0.0, **fields}


def _lstm(**fields: Any) -> dict[str, Any]:
    return {"kind": "lstm", "layers": 1, "tied": True, "embedding_std": 0.1, "dropout": 0.0, **fields}


_STEEP = {f"lstm {symbols}": (1.2e-2, 2.4e-2) for symbols in SYMBOLS}
"""Where sweeps of an LSTM start that reads the text once: below, it is far from done."""
_SMOKE = {"neurons": 2, "rounds": 1}

SIZES: dict[str, SameTextSize] = {
    "smoke": SameTextSize(
        "study-smoke", TEXT8["smoke"].settings, rates=(3e-3,), seeds=1, scored=2000, passes=0.02,
        models={
            "inn words": _inn(**_SMOKE, width=8),
            "lstm words": _lstm(width=16),
            "inn words, narrow": _inn(**_SMOKE, width=8, embedding_width=4),
            "inn words, adaptive head": _inn(**_SMOKE, width=8, embedding_width=4),
            "inn bpe 512": _inn(**_SMOKE, width=8),
            "lstm characters": _lstm(width=16),
        },
    ),
    "cpu": SameTextSize(
        "ptb",
        {"train.sample_every": 0, "train.checkpoint_every": 1_000_000, "train.weight_decay": 0.01},
        rates=(3e-3, 6e-3), rates_of=_STEEP, seeds=1, scored=None,
        models={  # 0.58 to 0.61 million parameters each
            "inn words": _inn(width=11),
            "lstm words": _lstm(width=57),
            "inn words, narrow": _inn(width=27, embedding_width=24),
            "lstm words, narrow": _lstm(width=176, embedding_width=32),
            "inn words, adaptive head": _inn(width=18, embedding_width=16),
            "inn bpe 512": _inn(width=38),
            "inn bpe 1024": _inn(width=36),
            "inn bpe 4096": _inn(width=22),
            "lstm bpe 1024": _lstm(width=212),
            "inn characters": _inn(width=42),
            "lstm characters": _lstm(width=264),
        },
    ),
    "gpu": SameTextSize(
        "ptb", rates=(1e-3, 2e-3, 4e-3), seeds=3, scored=None, passes=20.0,
        models={  # 2.7 to 2.9 million parameters each
            label: {**fields, "dropout": 0.4}
            for label, fields in {
                "inn words": _inn(width=48),
                "lstm words": _lstm(width=214, layers=2),
                "inn words, narrow": _inn(width=72, embedding_width=96),
                "lstm words, narrow": _lstm(width=330, embedding_width=96, layers=2),
                "inn words, adaptive head": _inn(width=62, embedding_width=64),
                "inn bpe 512": _inn(width=92),
                "inn bpe 1024": _inn(width=88),
                "inn bpe 4096": _inn(width=70),
                "lstm bpe 1024": _lstm(width=380, layers=2),
                "inn characters": _inn(width=94),
                "lstm characters": _lstm(width=418, layers=2),
            }.items()
        },
    ),
}  # fmt: skip


class VocabularyStudy(Study):
    name = "vocabulary"
    compressor_rows = True
    source = "Section 3.5, the vocabulary barrier"
    question = "Which way of entering and predicting words brings the graph to the LSTM at equal total parameters?"

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, SameTextSize)
        models = tune(lab, size, {label: settings(size, label) for label in size.models}, seeds)
        runs = [run for model in models for run in model.runs]
        scores = {part: iter(lab.measure(per_word, runs, split=part, limit=size.scored)) for part in ("valid", "test")}
        return {"rows": [row_of(model, scores) for model in models]}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        spelt = [row for row in result["rows"] if row["config"]["data"]["vocabulary"] == "characters"]
        return [compressors.case(row, {"valid": None, "test": None}) for row in spelt[:1]]

    def table(self, result: dict[str, Any]) -> str:
        scores = [
            (
                min(row["valid_ppl"], default=math.inf),
                row["label"],
                f"{row['parameters']:,}",
                f"{row['symbols']:,}",
                f"{row['training_flops'] / 1e12:.1f} T",
                f"{row['lr']:g}",
                spread(row["valid_ppl"], 1),
                spread(row["test_ppl"], 1),
            )
            for row in result["rows"]
        ]
        test = compressors.bits(result, "test", per="words")
        for name, bits in compressors.bits(result, "valid", per="words").items():
            scores.append((2.0**bits, name, "–", "–", "–", "–", f"{2.0**bits:.1f}", f"{2.0 ** test[name]:.1f}"))
        rows = [cells for _, *cells in sorted(scores)]
        head = [
            "model", "parameters:", "symbols:", "training FLOPs:", "lr:", "valid PPL per word:", "test PPL per word:",
        ]  # fmt: skip
        return (
            "Perplexity per word, exp(total nats / words), line ends counted as words; every row read the same text "
            "as often. *narrow*: an embedding narrower than the model, and a map between.\n\n" + markdown(head, rows)
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        rows = [row for row in result["rows"] if row["valid_ppl"]]
        axes = figure.subplots()
        colours = ["C0" if row["label"].startswith("inn") else "C1" for row in rows]
        axes.barh([row["label"] for row in rows], [statistics.mean(row["valid_ppl"]) for row in rows], color=colours)
        axes.invert_yaxis()
        axes.set(xlabel="validation perplexity per word", title="Penn Treebank at equal total parameters")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        mean = {row["label"]: statistics.mean(row["valid_ppl"]) for row in result["rows"] if row["valid_ppl"]}
        claim, paper = "the graph is behind the LSTM on words", (
            f"{TABLE_5['inn-paper'] / TABLE_5['lstm']:.2f} times its perplexity (Table 5)"
        )  # fmt: skip
        if not all(label in mean for label in BASE.values()):
            return [Verdict(claim, paper, "–", "not measured", "every run of a plain row diverged")]
        lstm, graphs = mean[BASE["lstm"]], {name: ppl for name, ppl in mean.items() if name.startswith("inn")}
        plain, best = mean[BASE["inn"]] / lstm, min(graphs, key=graphs.__getitem__)
        rivals = {name: ppl for name, ppl in mean.items() if name.startswith("lstm")}
        rival = min(rivals, key=rivals.__getitem__)
        bests = f"{best} at {graphs[best]:.1f} is the graph's best, {rival} at {rivals[rival]:.1f} the LSTM's"
        if plain <= 1:
            outcome, because = "not reproduced", f"it is not behind; {bests}"
        elif graphs[best] <= lstm:
            outcome, because = "artefact", f"{bests}; it is a matter of where the parameters are"
        else:
            outcome, because = "reproduced", bests
        return [
            Verdict(
                claim,
                paper,
                f"{plain:.2f} times",
                "reproduced" if plain > 1 else "not reproduced",
                f"{mean[BASE['inn']]:.1f} against {lstm:.1f} at equal total parameters",
            ),
            Verdict(
                "a vocabulary barrier keeps it there",
                "Section 3.5",
                f"{graphs[best] / lstm:.2f} times the plain LSTM's with {best}",
                outcome,
                because,
            ),
        ]


def settings(size: SameTextSize, label: str) -> dict[str, Any]:
    """Settings of a row: symbols, window, model, and as many symbols as make `size.passes` of the text."""
    from inn.data.prepare import prepare

    symbols = SYMBOLS[label.split(" ", 1)[1]]
    found = {
        **symbols,
        "data.window": WINDOWS[symbols["data.vocabulary"]],
        **{f"model.{name}": value for name, value in size.models[label].items()},
    }
    config = Job(label, size.recipe, {**size.settings, **found}).config()
    count = round(len(prepare(config.data).train) * size.passes)
    steps = max(1, count // (config.data.batch * config.data.window))
    return {**found, "train.symbols": count, "train.eval_every": max(1, steps // 4), "train.eval_symbols": 100_000}


def row_of(model: Tuned, scores: dict[str, Any]) -> dict[str, Any]:
    """A row of the result; takes the model's scores from the front of each part's."""
    row = {"label": model.label, "lr": model.rate, "sweep_valid_bits": model.sweep, **facts(model.runs[0])}
    row["training_flops"] = row["training_flops_per_symbol"] * row["symbols"]
    for part, found in scores.items():
        kept = [s for s in (next(found) for _ in model.runs) if s is not None]
        row[f"{part}_ppl"] = [s["ppl"] for s in kept]
        row[f"{part}_words"] = kept[0]["words"] if kept else None
    return row


def per_word(run: str, split: str, limit: int | None) -> dict[str, Any]:
    """The perplexity per word of a run on a part of its corpus (a measure for `Lab.measure`)."""
    from inn.inference.held_out import evaluate_run

    found = evaluate_run(run, split, streams=STREAMS, limit=limit)
    if found["metric"] == "PPL":  # the symbols are the words
        return {"ppl": found["perplexity"], "words": found["count"]}
    return {"ppl": found["ppl"], "words": found["text"]["words"]}
