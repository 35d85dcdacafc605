"""28: updates that leave the space alone that earlier tasks use."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from inn.config.run import RunConfig
from inn.config.settings import resolve_settings
from inn.data.task_data import task_data
from inn.inference.evaluate import evaluate
from inn.inference.examples import evaluate_examples
from inn.runs.checkpoint import Checkpoint, pack_model, save
from inn.runs.directory import Run
from inn.runs.load import load, load_data
from inn.runs.ties import ties
from inn.training.objectives.protect import earlier
from inn.training.objectives.space import drift
from inn.training.trainer import fit
from inn_studies.family import images
from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.lab import Lab

PLAIN, OURS, HEBB = "plain", "protect", "protect, by Hebb's rule"
TASKS = 6
IMAGES: dict[str, dict[str, Any]] = {
    PLAIN: {"kind": "predict"},
    OURS: {"kind": "protect", "energy": 0.9},
    HEBB: {"kind": "protect", "by": "hebb", "rank": 30},
}
"""The objective by label; ranks of Hebb's rule hold about the energy of the other form."""
FREE = "protect, others free"
TEXTS: dict[str, dict[str, Any]] = {
    PLAIN: {"kind": "predict"},
    OURS: {"kind": "protect", "energy": 0.9},
    FREE: {"kind": "protect", "energy": 0.9, "others": "free"},
}
"""The same of texts."""
CORPORA = ("text8-69m", "pydoc", "enwik8")
FORGETS, LOSES, AHEAD, DRIFT = -0.03, -0.10, 0.05, 0.05
WORSE = 0.05
AVERAGE, BACKWARD = "average", "backward transfer"


def permuted(train: Mapping[str, Any], seed: int, tasks: int, passes: int, count: int) -> dict[str, Any]:
    """Accuracies `[T][T]` of one network on one order of pixels after another (for `Lab.compute`)."""
    tests = [_config(n, {}, seed, passes, count) for n in range(tasks)]
    parts = [task_data(config.data).examples("test") for config in tests]
    matrix, off = [], 0.0
    with TemporaryDirectory() as folder:
        run = _first(Path(folder, "start"), tests[0], seed)
        for number in range(tasks):
            own = {"objective": dict(train) if number else "predict", "start": str(run)}
            run = Path(folder, f"{number}")
            fit(_config(number, own, seed, passes, count), run)
            model = load(run)
            matrix.append([evaluate_examples(model, part).metrics["accuracy"] for part in parts])
            off = max([off, *(drift(own) for h in earlier(str(run)).values() if h.ndim > 1 for own in h)])
    return {"matrix": matrix, "drift": off, "parameters": model.num_parameters}


def _config(number: int, train: Mapping[str, Any], seed: int, passes: int, count: int) -> RunConfig:
    steps = passes * -(-count // 64)
    tree = {
        "model": {
            "kind": "signal", "features": images.PIXELS, "outputs": 10, "head": "classes", "neurons": 1, "width": 100,
            "rounds": 2, "memory": {"kind": "none", "expand": 1}, "router": "none", "readout": "mean", "input": "copy",
        },
        "data": {
            "corpus": "task:permuted-fashion", "batch": 64,
            "task": {"kind": "permuted-fashion", "number": number, "images": count},
        },
        "train": {
            "symbols": 64 * steps, "lr": 1e-3, "seed": seed, "weight_decay": 0.0, "threads": 1, "eval_every": 10_000,
            "eval_symbols": 500, "sample_every": 0, "checkpoint_every": 10_000, **train,
        },
    }  # fmt: skip
    return RunConfig.from_dict(tree)


def _first(path: Path, config: RunConfig, seed: int) -> Path:
    """A run at step 0 with the scale of all pixels, which those that start from it take over."""
    torch.manual_seed(seed)
    data = task_data(config.data)
    model = images.network(
        seed, **{n: getattr(config.model, n) for n in ("neurons", "width", "rounds", "memory", "readout", "input")}
    )
    tensors, aliases = pack_model(model)
    run = Run.create(path, config, data.vocabulary)
    save(run.checkpoints, Checkpoint(0, {"model": tensors}, {"aliases": aliases, **ties(config, data.vocabulary)}))
    return path


def texts(
    train: Mapping[str, Any], seed: int, corpora: Sequence[str], first: int, symbols: int, held: int
) -> dict[str, Any]:
    """Bits `[T][T]` of one graph on one text after another, the first of them for longer (for `Lab.compute`)."""
    with TemporaryDirectory() as folder:
        runs = [Path(folder, f"{i}") for i in range(len(corpora))]
        fit(_text(corpora[0], {"kind": "predict"}, seed, first, 6e-3), runs[0])
        for name, start, run in zip(corpora[1:], runs, runs[1:]):
            fit(_text(name, {**train, "start": str(start)}, seed, symbols, 3e-3), run)
        held_out = [np.array(load_data(run).test[:held]) for run in runs]
        models = [load(run) for run in runs]
    matrix = [[evaluate(model, text, streams=4).bits for text in held_out] for model in models]
    return {"matrix": matrix, "parameters": models[0].num_parameters}


def _text(corpus: str, train: Mapping[str, Any], seed: int, symbols: int, lr: float) -> RunConfig:
    given = [f"--train.{'objective' if n == 'kind' else n}={v}" for n, v in train.items()]
    return resolve_settings("text8-last", [
        f"--data.corpus={corpus}", "--data.vocabulary=bytes", "--data.batch=16", "--data.window=128",
        "--model.neurons=4", "--model.width=24", "--model.rounds=2", "--model.tied=false",
        f"--train.symbols={symbols}", f"--train.lr={lr}",
        f"--train.seed={seed}", "--train.eval_symbols=2000", "--train.threads=1", "--train.eval_every=100000",
        "--train.sample_every=0", "--train.weight_decay=0", *given,
    ])  # fmt: skip


def backward(matrix: Sequence[Sequence[float]]) -> float:
    """Backward transfer of a matrix R[t][s]."""
    last = len(matrix) - 1
    return statistics.mean(matrix[last][s] - matrix[s][s] for s in range(last))


class Protecting(Entry):
    """Six orders of pixels, one after another, and three texts: protected, and not."""

    number = 28
    title = "Updates that leave the past alone"
    source = (
        "*Hebbian Learning based Orthogonal Projection for Continual Learning of Spiking Neural Networks*, "
        "[arXiv 2402.11984](https://arxiv.org/abs/2402.11984)"
    )
    claim = (
        "updates projected off the space that earlier tasks use, found by Hebbian learning with lateral connections, "
        "forget nearly nothing under several learning rules."
    )
    home = "objective `protect` (`by: svd | hebb`)"
    control = "plain fine-tuning in the same order"
    score = "of images accuracy; of texts bits, after the last"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        picture = {"tasks": size.of(2, TASKS), "passes": size.of(1, 4), "count": size.of(200, 4000)}
        text = {
            "corpora": size.of(("pydoc",) * 3, CORPORA),
            "first": size.of(8_000, 200_000),
            "symbols": size.of(8_000, 80_000),
            "held": size.of(2_000, 20_000),
        }
        rows, runs = [], {}
        for what, function, labels, options, count in (
            ("images", permuted, IMAGES, picture, seeds), ("texts", texts, TEXTS, text, seeds),
        ):  # fmt: skip
            cases = {
                f"{what}, {label}, {s}": {"train": train, "seed": s, **options}
                for label, train in labels.items()
                for s in range(count)
            }
            found = list(lab.compute(function, cases).values())
            for i, label in enumerate(labels):
                own = found[i * count : (i + 1) * count]
                last = [run["matrix"][-1] for run in own]
                told = {AVERAGE: [statistics.mean(one) for one in last], BACKWARD: [backward(r["matrix"]) for r in own]}
                if what == "texts":
                    told = {
                        "text8 lost": [r["matrix"][-1][0] - r["matrix"][0][0] for r in own],
                        "last text": [one[-1] for one in last],
                        "mean of texts": told[AVERAGE],
                    }
                rows.append(row(f"{what}: {label}", told, control=label == PLAIN, parameters=own[0]["parameters"]))
                runs[f"{what}: {label}"] = [{n: r[n] for n in ("matrix", "drift") if n in r} for r in own]
        return {"rows": rows, "runs": runs}

    def found(self, result: dict[str, Any]) -> str:
        lost, last = (
            {label: mean(result, f"texts: {label}", what) for label in TEXTS} for what in ("text8 lost", "last text")
        )
        return (
            f"on images as claimed, by singular values and by Hebb's rule alike. On texts plain training loses "
            f"{lost[PLAIN]:.2f} bits of text8, protected {lost[OURS]:.2f} where weights that are no linear map stay, "
            f"{lost[FREE]:.2f} where they are free; the last text is then at {last[OURS]:.2f} and {last[FREE]:.2f}, "
            f"and at {last[PLAIN]:.2f} in plain training: what new symbols need beside their embedding, a bias "
            "among it, is either not learned or moves what is old."
        )

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        plain, ours = f"images: {PLAIN}", f"images: {OURS}"
        forgot = [mean(result, label, BACKWARD) for label in (plain, ours, f"images: {HEBB}")]
        ahead = [mean(result, label, AVERAGE) - mean(result, plain, AVERAGE) for label in (ours, f"images: {HEBB}")]
        off = max(run["drift"] for label in (OURS, HEBB) for run in result["runs"][f"images: {label}"])
        lost = [scores(result, f"texts: {label}", "text8 lost") for label in (OURS, PLAIN)]
        last = [mean(result, f"texts: {label}", "last text") for label in (OURS, PLAIN)]
        share = statistics.mean(lost[0]) / statistics.mean(lost[1])
        return [
            Criterion.of("plain forgets", f"≤ {LOSES}", f"{forgot[0]:+.3f}", forgot[0] <= LOSES),
            Criterion.of("protected does not", f"≥ {FORGETS}", f"{forgot[1]:+.3f}", forgot[1] >= FORGETS),
            Criterion.of("average", f"≥ {AHEAD} ahead of plain", f"{ahead[0]:+.3f}", ahead[0] >= AHEAD),
            Criterion.of(
                "Hebb's rule", f"the same: ≥ {FORGETS}, ≥ {AHEAD} ahead", f"{forgot[2]:+.3f}, {ahead[1]:+.3f}",
                forgot[2] >= FORGETS and ahead[1] >= AHEAD,
            ),
            Criterion.of("a projection", f"‖H Hᵀ − 1‖ ≤ {DRIFT}", f"{off:.1e} at most", off <= DRIFT),
            Criterion.of("texts: text8", "loses ≤ half of what plain loses", f"{share:.2f} of it", share <= 0.5),
            Criterion.of(
                "texts: the last", f"≤ {WORSE} bits worse", f"{last[0] - last[1]:+.3f}", last[0] - last[1] <= WORSE
            ),
        ]  # fmt: skip
