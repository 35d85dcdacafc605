"""One model on one task: trained once, kept, and scored; what every row of the suite is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from inn.config.run import RunConfig
from inn.config.settings import resolve
from inn.data.names import sizes_of
from inn.data.task_data import TaskData, task_data
from inn.models.build import parameters_of
from inn.models.size import with_parameters
from inn.registry import TASKS
from inn_studies.lab import Job, Lab, status
from inn_studies.tasks import register

register()

RECIPE = "study-smoke"
"""The recipe whose settings the runs start from; all that matters is set by `settings`."""
GRAPH = {"neurons": 4, "width": 16, "rounds": 2}
"""The size of our graph; its other options are the defaults. The rivals get as many parameters."""
RATES = (2e-3, 5e-3, 1.2e-2)
RATES_OF = {"Transformer": (1e-3, 2.5e-3, 6e-3)}
"""The rates that each model's best one is taken from; where one has to do, the middle one."""
TOLERANCE = 0.02
"""By how much a rival's parameters may differ from the graph's."""


@dataclass(frozen=True)
class Test:
    """What a trained model is scored on: a part of its task with other options, or a function of the run's path."""

    options: Mapping[str, Any] = field(default_factory=dict)
    part: str = "test"
    by: str = "inn_studies.where.harness:scored"
    """`module:function`, called with the run, `part` and `options`; returns `value` and `sequences`, and more."""


@dataclass(frozen=True)
class Track:
    """A task to learn, what it is scored on, and how long it is trained on."""

    name: str
    corpus: str
    steps: int
    batch: int = 32
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the task, in training."""
    tests: Mapping[str, Test] = field(default_factory=lambda: {"test": Test()})
    graph: Mapping[str, Any] = field(default_factory=lambda: dict(GRAPH))
    model: Mapping[str, Any] = field(default_factory=dict)
    """Fields that all models have (`pool`)."""
    window: int = 256
    """Steps that the Transformer looks back on."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def data(self) -> TaskData:
        """The data that it is trained on."""
        return _data(self.corpus, tuple(self.options.items()))

    def known(self) -> dict[str, Any]:
        """The settings of the data."""
        return {"data.corpus": self.corpus, **{f"data.task.{name}": value for name, value in self.options.items()}}


def small(track: Track) -> Track:
    """The track with few examples to score, where they are generated."""
    kind = track.corpus.removeprefix("task:")
    if kind not in TASKS or "examples" not in {f.name for f in fields(TASKS.options(kind))}:
        return track
    return replace(track, options={**track.options, "examples": 10})


@cache
def _data(corpus: str, options: tuple[tuple[str, Any], ...]) -> TaskData:
    settings = resolve(RECIPE, [f"--data.corpus={corpus}", *(f"--data.task.{k}={v}" for k, v in options)])
    return task_data(settings.config.data)


def rivals(
    track: Track, best: Mapping[str, Any] | None = None, variants: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """The models on a track, see `sized_models`."""
    data = track.data()
    return sized_models(track, sizes_of(data.vocabulary), data.task.signal, best, variants)


def sized_models(
    track: Track,
    sizes: Mapping[str, Any],
    signal: bool,
    best: Mapping[str, Any] | None = None,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """The fields of `--model` of every model, of as many parameters as the graph has, by label.

    Args:
        sizes: what the data decides (`inn.data.names.sizes_of`).
        signal: whether it is numbers that are read, and not symbols.
        best: fields of the best graph for it, where there is one.
        variants: fields of further graphs, by label.
    """
    prefix, common = "signal-" if signal else "", {**track.model, **({"head": sizes["head"]} if signal else {})}
    ours = {"kind": "signal" if signal else "inn", **common, **({} if signal else _TABLES)}
    silent = {"neurons": 1, "rounds": track.graph["rounds"], "router": "none"}
    mamba = "signal-mamba" if signal else "mamba-stack"
    graph = {**ours, **track.graph}
    named = {**({"best graph": best} if best else {}), **(variants or {})}
    others = {
        **{label: {**ours, **fields} for label, fields in named.items()},
        "one wide neuron": {**ours, **silent},
        "LSTM": {"kind": f"{prefix}lstm", "layers": 1, **common},
        "Mamba stack": {"kind": mamba, "layers": 4, **common},
        "Transformer": {
            "kind": f"{prefix}transformer", "layers": 2, "heads": 2, "window": track.window, **common,
        },
    }  # fmt: skip
    for own in others.values():
        if own.get("recall") == "none":
            own.pop("recall.slots", None)
    target = parameters_of(configured(graph, sizes))
    return {"graph": graph, **{label: _sized(given, sizes, target) for label, given in others.items()}}


_TABLES = {"recall.slots": 1024}
"""An n-gram cache as large as these sequences need."""


def configured(given: Mapping[str, Any], sizes: Mapping[str, Any]) -> Any:
    """The configuration of a model by its fields, on data of these sizes."""
    settings = resolve(RECIPE, [f"--model.{name}={value}" for name, value in given.items()])
    return replace(settings.config.model, **sizes)


def _sized(given: Mapping[str, Any], sizes: Mapping[str, Any], target: int) -> dict[str, Any]:
    """The fields with the width that comes nearest to so many parameters; of a Transformer the hidden width, too."""
    config = with_parameters(configured(given, sizes), target)
    found = {**given, "width": config.width}
    if "hidden" in {f.name for f in fields(config)}:
        one, two = (parameters_of(replace(config, hidden=n)) for n in (1, 2))
        found["hidden"] = max(1, 1 + round((target - one) / (two - one)))
    return found


def job(track: Track, label: str, model: Mapping[str, Any], lr: float, seed: int) -> Job:
    """The run of a model on a track at a learning rate."""
    longest = track.data().longest
    settings = {
        **track.known(),
        "data.batch": track.batch,
        "train.symbols": track.steps * track.batch * longest,
        "train.lr": lr,
        "train.seed": seed,
        "train.log_every": max(track.steps // 10, 1),
        "train.eval_every": max(track.steps // 4, 1),
        "train.eval_symbols": 20_000,
        "train.checkpoint_every": 1_000_000,
        "train.sample_every": 0,
        "train.keep": 1,
        **{f"model.{name}": value for name, value in model.items()},
        **track.settings,
    }
    return Job(f"{track.name} {label} {lr:g} {seed}", RECIPE, settings)


def train_and_score(root: str, label: str, settings: dict[str, Any], tests: dict[str, Any]) -> dict[str, Any]:
    """Train a run, unless it is there, and score it on every test (a function for `Lab.compute`).

    Args:
        root: the folder of run directories.
        settings: of the run, by dotted name.
        tests: fields of `Test`, by name.

    Returns plain data: what the run took, and a score by test; of a run that diverged no score.
    """
    run = Lab(Path(root)).train([Job(label, RECIPE, settings)])[0]
    summary = run.summary() or {}
    found = {
        "status": status(run),
        "parameters": summary["parameters"],
        "training_flops_per_step": summary["training_flops"],
        "steps_read": summary["symbols"],
        "training_seconds": round(summary["training_seconds"], 2),
        "data": summary["data"],
        "scores": {},
    }
    if found["status"] == "finished":
        for name, test in tests.items():
            module, function = test["by"].split(":")
            found["scores"][name] = getattr(import_module(module), function)(str(run), test["part"], test["options"])
    return found


def case(track: Track, label: str, model: Mapping[str, Any], lr: float, seed: int, root: Path) -> dict[str, Any]:
    """The arguments of `train_and_score`, as plain data."""
    made = job(track, label, model, lr, seed)
    tests = {"valid": Test(part="valid"), **track.tests}  # a track may choose by another score
    plain = {name: {**asdict(test), "options": dict(test.options)} for name, test in tests.items()}
    return {"root": str(root), "label": made.label, "settings": dict(made.settings), "tests": plain}


def scored(run: str, part: str, options: dict[str, Any]) -> dict[str, Any]:
    """The score of a run on a part of its task, some of its options changed."""
    from inn.inference.held_out import evaluate_run

    found = evaluate_run(run, part, task=options)
    return {"value": found["score"], "metric": found["metric"], "sequences": found["sequences"]}


def run_config(run: str) -> RunConfig:
    """The settings of a run."""
    from inn.runs.directory import Run

    return Run(run).config()
