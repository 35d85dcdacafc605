"""Logs of systems that a model has never read: bits per byte beside compressors, and faults found in them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inn_studies.lab import Job, Lab
from inn_studies.logs.measures import LEARNED, PLAIN, RATE, WINDOW, compressed, read_held_out, rivalled
from inn_studies.logs.samples import FOLDS, held_out, write_fold
from inn_studies.logs.telling import RIVAL, bits_table, precision_table
from inn_studies.rows import facts
from inn_studies.sizes import Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

CONTEXTS: list[Any] = [
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, "column", "word", {"kind": "word", "words": 1}, {"kind": "word", "words": 2},
    {"kind": "last", "skip": 1, "length": 3}, {"kind": "last", "skip": 2, "length": 4},
]  # fmt: skip


@dataclass(frozen=True)
class LogSize(Size):
    """How much is trained and scored."""

    first: int = 2000
    """Lines of each log of the other folds that a model is pretrained on, the first ones."""
    each: int = 3
    """Faults of each kind in a sample, a burst of three lines counting as three."""
    lines: int | None = None
    """Of a sample that is made up; None reads the samples."""
    folds: int = FOLDS
    systems: int | None = None
    """Of a fold, the first ones; None takes all."""
    primed: bool = True
    """Whether compressors are measured after the pretraining text, too."""


_SETTINGS = {
    "data.vocabulary": "bytes", "train.sample_every": 0, "train.checkpoint_every": 1_000_000,
    "train.eval_every": 1_000_000, "train.eval_symbols": 1000, "model.recall.letters": [], "model.recall.slots": 65536,
    "model.recall.contexts": CONTEXTS,
}  # fmt: skip
_SMOKE = {
    **_SETTINGS, "data.corpus": "pydoc", "data.batch": 8, "data.window": 32, "model.neurons": 2, "model.width": 8,
    "model.rounds": 1, "model.recall.slots": 1024, "model.recall.contexts": [1, 3, "column"],
}  # fmt: skip


class Logs(Study):
    name = "logs"
    source = "Our own"
    question = "How well does a model pretrained on other systems' logs read a new one, and find faults in it?"

    def sizes(self) -> dict[str, Size]:
        cpu = LogSize("text8-small", _SETTINGS, (6e-3,), seeds=1, first=1000)
        smoke = LogSize(
            "text8-small", _SMOKE, (6e-3,), lines=80, each=1, folds=1, systems=2, primed=False
        )  # fmt: skip
        return {"smoke": smoke, "cpu": cpu, "gpu": replace(cpu, seeds=3, first=2000)}

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, LogSize)
        folds = range(size.folds)
        jobs = [self.job(lab, size, fold, seed) for fold in folds for seed in range(seeds)]
        runs = lab.train(jobs)
        options = {"lines": size.lines, "each": size.each}
        read = []
        for at, run in enumerate(runs):
            fold, seed = divmod(at, seeds)
            read += lab.measure(read_held_out, [run], fold=fold, seed=seed, systems=size.systems, **options)
        systems = {system: fold for fold in folds for system in held_out(fold)[: size.systems]}
        sizes = lab.compute(
            compressed,
            {
                s: {"system": s, "fold": f, "first": size.first, "lines": size.lines, "primed": size.primed}
                for s, f in systems.items()
            },
        )
        cheap = lab.compute(
            rivalled, {f"{s} {seed}": {"system": s, "seed": seed, **options} for s in systems for seed in range(seeds)}
        )
        return {
            "systems": {
                system: {
                    "fold": fold,
                    "compressors": sizes[system],
                    "ours": [read[fold * seeds + seed][system] for seed in range(seeds)],
                    "rivals": [cheap[f"{system} {seed}"] for seed in range(seeds)],
                }
                for system, fold in systems.items()
            },
            "rows": [facts(run) for run in runs[::seeds]],
            "learning": {"rate": RATE, "window": WINDOW},
        }

    def job(self, lab: Lab, size: LogSize, fold: int, seed: int) -> Job:
        """The pretraining run of a fold: all other systems' logs, read once, forward."""
        folder = (lab.root / "texts" / f"logs-{size.lines or size.first}-{fold}").absolute()
        read = write_fold(folder, fold, size.first, size.lines)
        settings = {
            **size.settings, "data.corpus": f"file:{folder}", "data.limit": read, "train.symbols": read,
            "train.seed": seed, "train.lr": size.rates[0],
        }  # fmt: skip
        return Job(f"logs, fold {fold}, seed {seed}", size.recipe, settings)

    def table(self, result: dict[str, Any]) -> str:
        return f"{bits_table(result)}\n\n{precision_table(result)}"

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        systems = result["systems"]
        axes = figure.subplots()
        shown: Mapping[str, list[float]] = {
            RIVAL: [s["compressors"]["alone"].get(RIVAL, 0.0) for s in systems.values()],
            PLAIN: [statistics.mean(one["bits"][PLAIN] for one in s["ours"]) for s in systems.values()],
            LEARNED: [statistics.mean(one["bits"][LEARNED] for one in s["ours"]) for s in systems.values()],
        }
        for at, (label, values) in enumerate(shown.items()):
            axes.bar([i + 0.27 * (at - 1) for i in range(len(systems))], values, 0.27, label=label)
        axes.set_xticks(range(len(systems)), list(systems), rotation=60, ha="right")
        axes.set(ylabel="bits per byte", title="logs of systems that were not read in pretraining")
        axes.legend()
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []
